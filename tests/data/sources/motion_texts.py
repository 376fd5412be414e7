"""Small captures as text, of which the tests of readers, of hostile files and of fuzzing begin."""

BVH = """HIERARCHY
ROOT mixamorig:Hips
{
\tOFFSET 0 0 0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
\tJOINT Left Arm
\t{
\t\tOFFSET 0 1 0
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 0.7 0
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.05
0 0 0 0 0 0 0 0 0
1 2 3 10 20 30 40 50 60
"""
ASF = """:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name thigh
     direction 0 -1 0
     length 7.0
     axis 10 20 30 XYZ
    dof rx ry rz
  end
  begin
     id 2
     name shin
     direction 0 -1 0
     length 7.5
     axis 0 0 20 XYZ
    dof rx
  end
:hierarchy
  begin
    root thigh
    thigh shin
  end
"""
AMC = """:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 10 20 30
thigh 40 50 60
shin 70
2
root 1 2 3 0 0 0
thigh 0 0 0
shin 0
"""

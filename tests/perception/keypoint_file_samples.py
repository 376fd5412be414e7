"""Valid content of keypoint files of every format, of one person whose points stand where `xy_of` says."""

import json

from hardmo_jax.perception.keypoint_files import point_lists
from hardmo_jax.skeleton import layouts

LAYOUT = layouts.get_layout("openpose67")
SCORE = 0.75
SIZE = (640, 480)


def xy_of(point):
    """Place of a named point in the picture, pixels; of no other point."""
    place = LAYOUT.index(point) if point in LAYOUT.points else 70 + sum(map(ord, point)) % 100
    return (10.0 + place, 200.0 - 2 * place)


def pairs(points):
    return [list(xy_of(point)) for point in points]


def triples(points, score=SCORE):
    return [number for point in points for number in (*xy_of(point), score)]


def points_of(name):
    return layouts.get_layout(name).points


LEFT, RIGHT = points_of("left_hand21"), points_of("right_hand21")
FEET = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))


def openpose(layout="openpose25", **fields):
    person = {
        "person_id": [-1], "pose_keypoints_2d": triples(points_of(layout)),
        "face_keypoints_2d": triples(["_face"] * 70),
        "hand_left_keypoints_2d": triples(LEFT), "hand_right_keypoints_2d": triples(RIGHT), "pose_keypoints_3d": [],
    }  # fmt: skip
    return {"version": 1.3, "people": [person | fields]}


def coco(**fields):
    annotation = {
        "id": 7, "image_id": 3, "category_id": 1, "iscrowd": 0, "bbox": [1, 2, 30, 40], "num_keypoints": 17,
        "keypoints": triples(points_of("coco17"), 2),
    }  # fmt: skip
    return {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 640, "height": 480}],
        "annotations": [annotation | fields],
        "categories": [{"id": 1, "name": "person", "keypoints": list(points_of("coco17"))}],
    }


def wholebody_fields(score=2):
    return {
        "foot_kpts": triples(FEET, score), "lefthand_kpts": triples(LEFT, score),
        "righthand_kpts": triples(RIGHT, score), "face_kpts": [0] * 204, "lefthand_valid": True,
        "righthand_valid": True, "face_valid": False, "foot_valid": True,
    }  # fmt: skip


def result(layout="coco17", **fields):
    return {"image_id": 785, "category_id": 1, "keypoints": triples(points_of(layout)), "score": 0.9} | fields


def alphapose(layout="halpe136", **fields):
    return result(layout, image_id="a.jpg", score=2.6, box=[1.0, 2.0, 30.0, 40.0], idx=[4.0]) | fields


def alphapose_by_picture(field="bodies"):
    points = points_of("openpose18")
    person = {"joints": triples(points)} if field == "bodies" else {"pose_keypoints_2d": triples(points)}
    return {"a.jpg": {"version": "AlphaPose v0.3", field: [person]}, "b.jpg": {"version": "AlphaPose v0.3", field: []}}


def instance(layout="coco17"):
    points = points_of(layout)
    return {
        "keypoints": pairs(points), "keypoint_scores": [SCORE] * len(points), "bbox": [[1.0, 2.0, 31.0, 42.0]],
        "bbox_score": 0.9,
    }  # fmt: skip


def rtmlib(layout="halpe26", people=1):
    points = points_of(layout)
    return {"keypoints": [pairs(points)] * people, "scores": [[SCORE] * len(points)] * people}


def landmarks(points, **certainties):
    return [
        {"x": (xy_of(point)[0] + 0.5) / SIZE[0], "y": (xy_of(point)[1] + 0.5) / SIZE[1], "z": 0.1, **certainties}
        for point in points
    ]


#: MediaPipe's foremost point of the foot is where the big toe is.
MEDIAPIPE33 = tuple(point.replace("foot_index", "big_toe") for point in points_of("blazepose33"))


def mediapipe():
    return {
        "pose_landmarks": [landmarks(MEDIAPIPE33, visibility=0.9, presence=0.5)],
        "pose_world_landmarks": [landmarks(MEDIAPIPE33, visibility=0.9, presence=0.5)],
        "left_hand_landmarks": landmarks(LEFT, visibility=0.0),
        "right_hand_landmarks": [],
    }


#: Format -> (content, the layout in the file, points of `openpose67` that it has beside the averaged ones).
SAMPLES = {
    "openpose25": (openpose(), "openpose25", LAYOUT.points),
    "openpose18": (openpose("openpose18"), "openpose18", (*points_of("openpose18"), *LEFT, *RIGHT)),
    "openpose135": (
        openpose("openpose135", hand_left_keypoints_2d=[], hand_right_keypoints_2d=[]),
        "openpose135",
        points_of("openpose135"),
    ),
    "openpose_mpi15": (
        openpose(
            pose_keypoints_2d=triples(point_lists.OPENPOSE_MPI15.points),
            hand_left_keypoints_2d=[],
            hand_right_keypoints_2d=[],
        ),
        "openpose_mpi15",
        point_lists.OPENPOSE_MPI15.points,
    ),
    "pose2sim": (
        {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": triples(points_of("halpe26"))}]},
        "halpe26",
        points_of("halpe26"),
    ),
    "openpose 1.0": (
        {"version": 1.0, "people": [{"pose_keypoints": triples(points_of("openpose18")), "hand_left_keypoints": []}]},
        "openpose18",
        points_of("openpose18"),
    ),
    "coco": (coco(), "coco17", points_of("coco17")),
    "coco_wholebody": (coco(**wholebody_fields()), "coco_wholebody133", (*points_of("coco17"), *FEET, *LEFT, *RIGHT)),
    "halpe": (coco(keypoints=triples(points_of("halpe136"), 2)), "halpe136", points_of("halpe136")),
    "coco 133": (
        coco(keypoints=triples(points_of("coco_wholebody133"), 2)),
        "coco_wholebody133",
        points_of("coco_wholebody133"),
    ),
    "coco 23": (coco(keypoints=triples(points_of("coco_feet23"), 2)), "coco_feet23", points_of("coco_feet23")),
    "results": ([result()], "coco17", points_of("coco17")),
    "results 133": ([result("coco_wholebody133")], "coco_wholebody133", points_of("coco_wholebody133")),
    "wholebody results": (
        [result(**wholebody_fields(SCORE))],
        "coco_wholebody133",
        (*points_of("coco17"), *FEET, *LEFT, *RIGHT),
    ),
    "alphapose": ([alphapose()], "halpe136", points_of("halpe136")),
    "alphapose mpii": (
        [alphapose(keypoints=triples(point_lists.MPII16.points))],
        "mpii16",
        point_lists.MPII16.points,
    ),
    "alphapose cmu": (alphapose_by_picture(), "alphapose18", points_of("coco17")),
    "alphapose open": (alphapose_by_picture("people"), "alphapose18", points_of("coco17")),
    "alphapose one": (alphapose_by_picture("people")["a.jpg"], "alphapose18", points_of("coco17")),
    "mmpose": ([instance("coco_wholebody133")], "coco_wholebody133", points_of("coco_wholebody133")),
    "mmpose video": (
        [{"frame_id": 0, "instances": [instance()]}, {"frame_id": 1, "instances": []}],
        "coco17",
        points_of("coco17"),
    ),
    "mmpose demo": (
        {"meta_info": {}, "instance_info": [{"frame_id": 1, "instances": [instance("halpe26")]}]},
        "halpe26",
        points_of("halpe26"),
    ),
    "mmpose predictions": ({"predictions": [[instance()]]}, "coco17", points_of("coco17")),
    "rtmlib": (rtmlib(), "halpe26", points_of("halpe26")),
    "rtmlib video": ([rtmlib("coco_wholebody133")], "coco_wholebody133", points_of("coco_wholebody133")),
    "rtmlib frames": ({"fps": 30, "frames": [rtmlib()]}, "halpe26", points_of("halpe26")),
    "mediapipe": (mediapipe(), "mediapipe33", (*MEDIAPIPE33, *LEFT)),
    "mediapipe video": ([mediapipe(), None], "mediapipe33", (*MEDIAPIPE33, *LEFT)),
}


def write(path, content):
    """A file with the content, which is JSON or text already."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path

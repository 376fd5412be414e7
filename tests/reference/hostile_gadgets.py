"""Names that published advisories abuse: what scanners of pickles were found to miss, called as the reports call it.

The list follows the advisories of picklescan and fickling (December 2023 to October 2026), the gadgets of "The Art of
Hide and Seek" (arXiv:2508.19774), and reports about `torch.load`, NumPy and pandas. Each is a function of the path of a
canary, as in `hostile_pickles`.

`RUN` act when Python's own reader is given them, which is checked on Linux. `NAMED` need what is not installed here,
another system, a network or a terminal, or would end the process: it is enough that they are refused.
"""

import marshal
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.reference.hostile_pickles import STOP, call, name, python_code, stack_name, system, touch, value, write_code

Gadget = Callable[[Path], bytes]
TOUCH = shutil.which("touch") or "/usr/bin/touch"


def raw(data: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + len(data).to_bytes(4, "little") + data


def dotted(module: str, attribute: str, *arguments: bytes) -> bytes:
    """A call of a method of a class, which STACK_GLOBAL reaches by a dot."""
    return call(stack_name(module, attribute), *arguments)


def of(module: str, attribute: str, *arguments: Callable[[Path], bytes]) -> Gadget:
    return lambda canary: call(name(module, attribute), *(argument(canary) for argument in arguments)) + STOP


def method(module: str, attribute: str, *arguments: Callable[[Path], bytes]) -> Gadget:
    return lambda canary: b"\x80\x04" + dotted(module, attribute, *(argument(canary) for argument in arguments)) + STOP


def just(content: object) -> Callable[[Path], bytes]:
    return lambda canary: value(content)


def path(canary: Path) -> bytes:
    return value(str(canary))


def words(canary: Path) -> bytes:
    return value(["touch", str(canary)])


def beside(suffix: str) -> Callable[[Path], bytes]:
    """The path of a file that `write_companions` writes."""
    return lambda canary: value(str(canary) + suffix)


def write_companions(canary: Path) -> None:
    """Files that some gadgets load: Python text, a pickle, an array of objects, a configuration with an expression."""
    code = python_code(canary)
    Path(f"{canary}.py").write_text(code)
    Path(f"{canary}.pkl").write_bytes(system(canary) + STOP)
    Path(f"{canary}.pth").write_text(f"import sys; {code}\n")
    with Path(f"{canary}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        file.write(system(canary) + STOP)
    Path(f"{canary}.ini").write_text(
        "[loggers]\nkeys=root\n[logger_root]\nhandlers=h\n[formatters]\nkeys=\n[handlers]\nkeys=h\n"
        f"[handler_h]\nclass=NullHandler\nargs=({code}, )[:0]\n"
    )


def compiled(canary: Path) -> bytes:
    return call(name("builtins", "compile"), write_code(canary), value("x"), value("exec"))


def marshalled(canary: Path) -> bytes:
    return raw(marshal.dumps(compile(python_code(canary), "x", "exec")))


def function_of(module: str, attribute: str) -> Callable[[Path], bytes]:
    return lambda canary: name(module, attribute)


OS_SYSTEM, EXEC = function_of("os", "system"), function_of("builtins", "exec")
NOTHING = just({})


def partial_system(canary: Path) -> bytes:
    return call(name("functools", "partial"), OS_SYSTEM(canary), touch(canary))


def mapped_exec(canary: Path) -> bytes:
    return call(name("builtins", "map"), EXEC(canary), value([python_code(canary)]))


def library(canary: Path) -> bytes:
    return call(name("builtins", "getattr"), call(name("ctypes", "CDLL"), value(None)), value("system"))


RUN: dict[str, Gadget] = {
    # ---- processes
    "os.popen": of("os", "popen", touch),
    "os.spawnlp": of("os", "spawnlp", just(0), just("touch"), just("touch"), path),
    "os.spawnvp": of("os", "spawnvp", just(0), just("touch"), words),
    "os.posix_spawnp": of("os", "posix_spawnp", just("touch"), words, NOTHING),
    "posix.posix_spawnp": of("posix", "posix_spawnp", just("touch"), words, NOTHING),
    "os.execvp": of("os", "execvp", just("touch"), words),
    "os.execlp": of("os", "execlp", just("touch"), just("touch"), path),
    "subprocess.Popen": of("subprocess", "Popen", words),
    "subprocess.run": of("subprocess", "run", words),
    "subprocess.check_call": of("subprocess", "check_call", words),
    "subprocess.check_output": of("subprocess", "check_output", words),
    "subprocess.getstatusoutput": of("subprocess", "getstatusoutput", touch),
    "commands.getoutput of Python 2": of("commands", "getoutput", touch),
    "multiprocessing.util.spawnv_passfds": lambda c: call(
        name("multiprocessing.util", "spawnv_passfds"),
        raw(TOUCH.encode()), b"](" + raw(b"touch") + raw(str(c).encode()) + b"e", b")",
    ) + STOP,
    "_osx_support._read_output": of("_osx_support", "_read_output", touch),
    "uuid._get_command_stdout": of("uuid", "_get_command_stdout", just("touch"), path),
    "pydoc.pipepager": of("pydoc", "pipepager", just("x"), touch),
    "pydoc.tempfilepager": of("pydoc", "tempfilepager", just("x"), touch),
    "pydoc.locate": lambda c: call(call(name("pydoc", "locate"), value("os.system")), touch(c)) + STOP,
    "ctypes and the C library": lambda c: call(library(c), raw(f"touch {c}".encode())) + STOP,
    "_thread.start_new_thread": lambda c: (
        call(name("_thread", "start_new_thread"), OS_SYSTEM(c), b"(" + touch(c) + b"t") + STOP
    ),
    "atexit.register": of("atexit", "register", OS_SYSTEM, touch),
    "weakref.finalize": lambda c: (
        call(name("weakref", "finalize"), call(name("collections", "Counter")), OS_SYSTEM(c), touch(c)) + STOP
    ),
    # ---- indirection
    "importlib.import_module and getattr": lambda c: call(
        call(name("builtins", "getattr"), call(name("importlib", "import_module"), value("os")), value("system")),
        touch(c),
    ) + STOP,
    "_operator.attrgetter": lambda c: call(
        call(name("_operator", "attrgetter"), value("system")), call(name("importlib", "import_module"), value("os"))
    ) + touch(c) + b"\x85R" + STOP,
    "_operator.methodcaller": lambda c: call(
        call(name("_operator", "methodcaller"), value("system"), touch(c)),
        call(name("importlib", "import_module"), value("os")),
    ) + STOP,
    "operator.itemgetter of vars": lambda c: call(
        call(
            call(name("operator", "itemgetter"), value("system")),
            call(name("builtins", "vars"), call(name("importlib", "import_module"), value("os"))),
        ),
        touch(c),
    ) + STOP,
    "operator.getitem of a module's names": lambda c: call(
        call(
            name("operator", "getitem"),
            call(name("builtins", "vars"), call(name("importlib", "import_module"), value("os"))), value("system"),
        ),
        touch(c),
    ) + STOP,
    "_functools.partial": lambda c: call(call(name("_functools", "partial"), OS_SYSTEM(c)), touch(c)) + STOP,
    "functools.reduce of exec": lambda c: (
        call(name("functools", "reduce"), EXEC(c), b"](" + write_code(c) + b"}e") + STOP
    ),
    "reduce under its Python 2 name": lambda c: (
        call(name("__builtin__", "reduce"), EXEC(c), b"](" + write_code(c) + b"}e") + STOP
    ),
    "the state of a partial": lambda c: call(
        call(name("functools", "partial"), name("builtins", "print"))
        + b"(" + OS_SYSTEM(c) + b"(" + touch(c) + b"t}}tb"
    ) + STOP,
    "collections.defaultdict with a factory": lambda c: call(
        name("operator", "getitem"), call(name("collections", "defaultdict"), partial_system(c)), value(1)
    ) + STOP,
    "list of map": lambda c: call(name("builtins", "list"), mapped_exec(c)) + STOP,
    "tuple of imap of Python 2": lambda c: call(
        name("builtins", "tuple"), call(name("itertools", "imap"), EXEC(c), value([python_code(c)]))
    ) + STOP,
    "bytes of map": lambda c: call(name("builtins", "bytes"), mapped_exec(c)) + STOP,
    "set of map": lambda c: call(name("builtins", "set"), mapped_exec(c)) + STOP,
    "frozenset of filter": lambda c: call(
        name("builtins", "frozenset"), call(name("builtins", "filter"), EXEC(c), value([python_code(c)]))
    ) + STOP,
    "collections.OrderedDict of map": lambda c: call(name("collections", "OrderedDict"), mapped_exec(c)) + STOP,
    "collections.deque of map": lambda c: call(name("collections", "deque"), mapped_exec(c)) + STOP,
    "itertools.starmap": lambda c: call(
        name("builtins", "list"),
        call(name("itertools", "starmap"), EXEC(c), b"](" + write_code(c) + b"\x85e"),
    ) + STOP,
    "itertools.accumulate": lambda c: call(
        name("builtins", "list"),
        call(name("itertools", "accumulate"), b"](" + write_code(c) + b"}e", EXEC(c)),
    ) + STOP,
    "numpy.fromiter of map": lambda c: call(name("numpy", "fromiter"), mapped_exec(c), value("f8")) + STOP,
    "numpy.frompyfunc": lambda c: call(
        call(name("numpy", "frompyfunc"), EXEC(c), value(1), value(1)), write_code(c)
    ) + STOP,
    "a module put under another name": lambda c: (
        name("sys", "modules") + value("canary_module") + call(name("importlib", "import_module"), value("os")) + b"s0"
        + call(name("canary_module", "system"), touch(c)) + STOP
    ),
    # ---- text that is run
    "exec of a compiled text": lambda c: call(EXEC(c), compiled(c)) + STOP,
    "marshal.loads and types.FunctionType": lambda c: call(
        call(
            name("types", "FunctionType"),
            call(name("marshal", "loads"), marshalled(c)), call(name("builtins", "globals")),
        )
    ) + STOP,
    "runpy.run_path": of("runpy", "run_path", beside(".py")),
    "runpy.run_path by a dotted name": method("runpy", "run_path", beside(".py")),
    "site.addpackage": lambda c: call(
        name("site", "addpackage"), value(str(c.parent)), value(f"{c.name}.pth"), value(None)
    ) + STOP,
    "logging.config.fileConfig": of("logging.config", "fileConfig", beside(".ini")),
    "importlib's file loader": lambda c: call(
        call(name("operator", "methodcaller"), value("load_module")),
        call(name("importlib._bootstrap_external", "SourceFileLoader"), value("canary_text"), value(f"{c}.py")),
    ) + STOP,
    "bdb.Bdb.run": method("bdb", "Bdb.run", lambda c: call(name("bdb", "Bdb")), write_code),
    "bdb.Bdb.runeval": method("bdb", "Bdb.runeval", lambda c: call(name("bdb", "Bdb")), write_code),
    "cProfile.run": of("cProfile", "run", write_code),
    "cProfile.runctx": of("cProfile", "runctx", write_code, NOTHING, NOTHING),
    "profile.run": of("profile", "run", write_code),
    "profile.Profile.runctx": method(
        "profile", "Profile.runctx", lambda c: call(name("profile", "Profile")), write_code, NOTHING, NOTHING
    ),
    "trace.Trace.run": method("trace", "Trace.run", lambda c: call(name("trace", "Trace")), write_code),
    "trace.Trace.runctx": method("trace", "Trace.runctx", lambda c: call(name("trace", "Trace")), write_code),
    "timeit.repeat": of("timeit", "repeat", write_code, just("pass"), function_of("time", "time"), just(1), just(1)),
    "timeit.main": lambda c: call(name("timeit", "main"), value(["-n", "1", "-r", "1", python_code(c)])) + STOP,
    "timeit.Timer.timeit": method(
        "timeit", "Timer.timeit", lambda c: call(name("timeit", "Timer"), write_code(c)), just(1)
    ),
    "doctest.debug_script": of("doctest", "debug_script", write_code, just(True), NOTHING),
    "code.InteractiveInterpreter.runcode": method(
        "code", "InteractiveInterpreter.runcode", lambda c: call(name("code", "InteractiveInterpreter")), compiled
    ),
    "code.InteractiveInterpreter.runsource": method(
        "code", "InteractiveInterpreter.runsource", lambda c: call(name("code", "InteractiveInterpreter")), write_code
    ),
    "numpy.testing.measure": of("numpy.testing", "measure", write_code, just(1)),
    # ---- pickles inside
    "pickle._loads": lambda c: call(name("pickle", "_loads"), raw(system(c) + STOP)) + STOP,
    "_pickle.loads": lambda c: call(name("_pickle", "loads"), raw(system(c) + STOP)) + STOP,
    "cPickle.loads of Python 2": lambda c: call(name("cPickle", "loads"), raw(system(c) + STOP)) + STOP,
    "pickle.load of a file": lambda c: call(
        name("pickle", "load"), call(name("builtins", "open"), value(f"{c}.pkl"), value("rb"))
    ) + STOP,
    "pickle.Unpickler.load": method(
        "pickle", "_Unpickler.load",
        lambda c: call(name("pickle", "_Unpickler"), call(name("io", "BytesIO"), raw(system(c) + STOP))),
    ),
    "numpy.load of objects": of("numpy", "load", beside(".npy"), just(None), just(True)),
    "multiprocessing.reduction.ForkingPickler.loads": method(
        "multiprocessing.reduction", "ForkingPickler.loads", lambda c: raw(system(c) + STOP)
    ),
    # ---- files
    "os.mkdir": of("os", "mkdir", path),
    "os.symlink": of("os", "symlink", just("/etc/hostname"), path),
    "os.rename": of("os", "rename", beside(".ini"), path),
    "posix.open": of("posix", "open", path, just(0o101)),
    "shutil.copyfile": of("shutil", "copyfile", beside(".py"), path),
    "shutil.move": of("shutil", "move", beside(".py"), path),
    "io.open": of("io", "open", path, just("w")),
    "_io.FileIO": of("_io", "FileIO", path, just("w")),
    "_pyio.open": of("_pyio", "open", path, just("w")),
    "codecs.open": of("codecs", "open", path, just("w")),
    "zipfile.ZipFile": of("zipfile", "ZipFile", path, just("w")),
    "tarfile.open": of("tarfile", "open", path, just("w")),
    "gzip.open": of("gzip", "open", path, just("wb")),
    "bz2.open": of("bz2", "open", path, just("wb")),
    "lzma.open": of("lzma", "open", path, just("wb")),
    "wave.open": of("wave", "open", path, just("wb")),
    "mailbox.Maildir": of("mailbox", "Maildir", path),
    "logging.handlers": of("logging.handlers", "WatchedFileHandler", path),
    "py_compile.compile": of("py_compile", "compile", beside(".py"), path),
    "urllib.request.urlretrieve": of("urllib.request", "urlretrieve", just("file:///etc/hostname"), path),
    "urllib.urlretrieve of Python 2": of("urllib", "urlretrieve", just("file:///etc/hostname"), path),
    "pathlib.Path.write_text": method(
        "pathlib", "Path.write_text", lambda c: call(name("pathlib", "Path"), path(c)), just("x")
    ),
    "numpy.savetxt": of("numpy", "savetxt", path, just([1.0])),
    "numpy.ndarray.dump": method("numpy", "ndarray.dump", just(np.eye(2)), path),
    "an ndarray subclass by NEWOBJ": lambda c: (
        name("numpy", "memmap") + b"(" + path(c) + value("u1") + value("w+") + value(0) + value((10,)) + b"t\x81" + STOP
    ),
    "an ndarray subclass by NEWOBJ_EX": lambda c: (
        b"\x80\x04" + name("numpy", "memmap") + path(c) + b"\x85"
        + value({"dtype": "u1", "mode": "w+", "shape": (10,)}) + b"\x92" + STOP
    ),
    "logging.FileHandler": lambda c: (
        b"\x80\x04" + name("logging", "FileHandler") + path(c) + b"\x85R" + STOP
    ),
}  # fmt: skip

_NAMES = """
nt.system ntpath.os.system _winapi.CreateProcess winreg.ConnectRegistry _winreg.OpenKey msvcrt.open_osfhandle
os.startfile os.kill os.abort os._exit os.fork os.remove os.environ os.putenv os.chmod os.truncate posix._exit
posix.unlink sys.exit sys.modules sys.setprofile sys.settrace sys.meta_path sys.path builtins.breakpoint
builtins.input builtins.help builtins.exit builtins.delattr builtins.setattr builtins.globals builtins.locals
builtins.type builtins.super builtins.property builtins.memoryview builtins.classmethod __builtin__.apply
__builtin__.execfile __builtin__.file __builtin__.getattr __builtin__.input __main__.anything pdb.run pdb.Pdb
pdb.set_trace bdb.Bdb code.interact codeop.compile_command pty.spawn tty.setraw pip.main pip._internal.main
pip._internal.cli.main.main ensurepip._run_pip ensurepip.bootstrap venv.create venv.EnvBuilder zipapp.create_archive
compileall.compile_file distutils.file_util.write_file distutils.spawn.spawn setuptools.sandbox.run_setup
asyncio.unix_events._UnixSubprocessTransport._start asyncio.create_subprocess_shell _posixsubprocess.fork_exec
_xxsubinterpreters.run_string _interpreters.run_string _testcapi.run_in_subinterp idlelib.run.Executive.runcode
idlelib.pyshell.ModifiedInterpreter.runcode idlelib.pyshell.ModifiedInterpreter.runcommand
idlelib.calltip.get_entity idlelib.calltip.Calltip.fetch_tip idlelib.autocomplete.AutoComplete.get_entity
idlelib.debugobj.ObjectTreeItem.SetText lib2to3.pgen2.grammar.Grammar.loads
lib2to3.pgen2.pgen.ParserGenerator.make_label socket.create_connection socket.socket ssl.get_server_certificate
http.client.HTTPSConnection httplib.HTTPSConnection ftplib.FTP smtplib.SMTP smtpd.SMTPServer telnetlib.Telnet
urllib.request.urlopen urllib2.urlopen xmlrpc.client.ServerProxy webbrowser.open requests.get requests.api.get
aiohttp.request httpx.get paramiko.SSHClient imaplib.IMAP4_stream ctypes.CDLL ctypes.windll.kernel32.WinExec
ctypes.util.find_library cffi.FFI mmap.mmap resource.setrlimit signal.signal gc.get_objects inspect.getattr_static
importlib.reload importlib.util.module_from_spec imp.load_source zipimport.zipimporter types.CodeType
types.FunctionType types.SimpleNamespace marshal.loads dis.dis ast.literal_eval symtable.symtable pickle.loads
pickletools.dis shelve.open dbm.open sqlite3.connect copyreg.__newobj__ copyreg.__newobj_ex__ copyreg.add_extension
copyreg.pickle copyreg.constructor copyreg._reduce_ex _codecs.decode _codecs.lookup codecs.decode codecs.encode
encodings.search_function collections.namedtuple collections.UserDict enum.Enum dataclasses.make_dataclass
string.Formatter re._compile sre_compile.compile functools.cached_property functools.singledispatch threading.Thread
threading.Timer concurrent.futures.ProcessPoolExecutor multiprocessing.Process multiprocessing.Pool
unittest.mock._importer test.support.script_helper.assert_python_ok cgitb.enable cgi.parse antigravity.geohash
this.s numpy.load numpy.fromfile numpy.memmap numpy.lib.npyio.load numpy.lib.npyio.NpzFile
numpy.lib._npyio_impl.load numpy.lib.format.read_array numpy.ctypeslib.load_library numpy.f2py.compile
numpy.f2py.diagnose.run numpy.f2py.run_main numpy.f2py.crackfortran._eval_length numpy.f2py.crackfortran.getlincoef
numpy.f2py.crackfortran.param_eval numpy.testing._private.utils.runstring numpy.testing.rundocs
numpy.distutils.exec_command.exec_command numpy.distutils.misc_util.get_cmd numpy.core.numerictypes.sctypeDict
numpy.core.multiarray.fromfile numpy.core.multiarray.set_numeric_ops numpy._core.multiarray._vec_string
numpy.core.records.fromfile numpy.recarray numpy.matrix numpy.object_ numpy.void
numpy.core._internal._convert_to_stringdtype_kwargs numpy.vectorize torch.load torch.serialization.load
torch.serialization._load torch.jit.load torch.hub.load torch.package.PackageImporter torch.storage._load_from_bytes
torch._utils._rebuild_tensor_v3 torch._dynamo.guards.GuardBuilder.get torch._inductor.codecache.compile_file
torch._inductor.runtime.compile_tasks.reload_triton_kernel
torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
torch.jit.unsupported_tensor_ops.execWrapper torch.utils._config_module.ConfigModule.load_config
torch.utils.bottleneck.__main__.run_cprofile torch.utils.bottleneck.__main__.run_autograd_prof
torch.utils.collect_env.run torch.utils.cpp_extension.load torch.utils.data.datapipes.utils.decoder.basichandlers
torch.distributed.rpc.internal._internal_rpc_pickler.deserialize
torch.utils.benchmark.utils.cpp_jit.compile_timeit_template torch.utils.hipify.hipify_python.hipify
torch.ops.load_library ultralytics.nn.tasks.parse_model ultralytics.nn.tasks.guess_model_task
ultralytics.utils.checks.check_requirements pandas.read_pickle pandas.io.pickle.read_pickle pandas.eval
pandas.core.computation.eval.eval joblib.load joblib.numpy_pickle.load dill.loads dill._dill._create_code
dill._dill._import_module cloudpickle.loads cloudpickle.cloudpickle._make_function cloudpickle.cloudpickle.subimport
jsonpickle.decode yaml.load yaml.unsafe_load sklearn.utils._joblib.load scipy.io.loadmat scipy.io.idl.readsav
keras.models.load_model keras.layers.Lambda tensorflow.io.read_file tensorflow.keras.models.load_model
tensorflow.raw_ops.ReadFile onnxruntime.InferenceSession ray.cloudpickle.loads ray.util.client.ray.get dask.compute
webdataset.autodecode.Decoder fire.Fire jinja2.Template pkg_resources.resource_string IPython.start_ipython
transformers.pipeline datasets.load_dataset smplx.create chumpy_evil.Ch chumpyx.Ch scipy.sparse.evil
scipy.sparse.csc.csr_matrix.__init__ scipy.sparse.load_npz hardmo_jax.anything
"""
NAMED: dict[str, Gadget] = {
    full: of(full.rpartition(".")[0], full.rpartition(".")[2], touch) for full in _NAMES.split()
}

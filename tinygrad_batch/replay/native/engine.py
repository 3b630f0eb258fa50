"""LLVM: from text to machine code in memory, and the functions of other libraries that the code calls."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from functools import cache
from typing import Any

from ... import __version__
from ...errors import CompileError
from . import elementary, entry
from .module import Machine

_HINT = 'Install it with pip install "tinygrad-batch[native]", or compile with the NumPy backend'


@cache
def binding() -> Any:
    """Return LLVM, ready to make code for this machine."""
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise CompileError(f"machine code is made by llvmlite, which cannot be imported: {error}", _HINT) from None
    if llvm.llvm_version_info < (20,):
        raise CompileError("llvmlite is older than 0.45", _HINT)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def processor() -> tuple[str, str]:
    """Return the name of the processor, and what it can do."""
    llvm = binding()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@cache
def versions() -> tuple[str, ...]:
    """Return what compiled code depends on besides its text."""
    import llvmlite

    return (
        __version__,
        llvmlite.__version__,
        str(binding().llvm_version_info),
        binding().get_process_triple(),
        *processor(),
    )


@cache
def machine() -> Machine:
    """Return the size and number of the vector registers."""
    features = processor()[1].split(",")
    if "+avx512f" in features and "+avx512vl" in features:
        return Machine(64, 32)
    if "+avx2" in features:
        return Machine(32, 16)
    arm = binding().get_process_triple().startswith(("aarch64", "arm64"))
    return Machine(16, 32 if arm else 16)


def object_code(text: str) -> bytes:
    """Compile text to an object file."""
    llvm = binding()
    name, features = processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    options = {"cpu": name, "features": features, "opt": 2, "reloc": "default", "codemodel": "jitdefault", "jit": True}
    target_machine = target.create_target_machine(**options)
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_process_triple()
    module.data_layout = str(target_machine.target_data)
    module.verify()
    builder = llvm.create_pass_builder(target_machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()  # few: the text is vectors already, in loops that stand as they are
    passes.add_new_gvn_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, builder)
    return bytes(target_machine.emit_object(module))


class Loaded:
    """Machine code in memory; it lives as long as this object."""

    def __init__(self, code: bytes) -> None:
        llvm = binding()
        _make_known()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        self._module = llvm.parse_assembly("")
        self._engine = llvm.create_mcjit_compiler(
            self._module, target.create_target_machine(codemodel="jitdefault", jit=True)
        )
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return the address of a function."""
        return int(self._engine.get_function_address(name))


@cache
def _make_known() -> None:
    """Tell LLVM where the functions of the C library are."""
    llvm = binding()
    library = _mathematics()
    for name in elementary.LIBRARY.values():
        for letter in ("", "f"):
            function = getattr(library, name + letter)
            llvm.add_symbol(f"tb_{name}{letter}", ctypes.cast(function, ctypes.c_void_p).value)
    for name in entry.API:
        llvm.add_symbol(f"tb_{name}", ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)


def _mathematics() -> ctypes.CDLL:
    if sys.platform == "win32":
        return ctypes.CDLL("ucrtbase")
    return ctypes.CDLL(ctypes.util.find_library("m") or None)


@cache
def blas() -> tuple[int, int] | None:
    """Return the addresses of ``sgemm`` and ``dgemm``, which SciPy publishes; None without SciPy."""
    try:
        from scipy.linalg import cython_blas
    except ImportError:
        return None
    capsules = cython_blas.__pyx_capi__
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    found = []
    for name in ("sgemm", "dgemm"):
        signature = api.PyCapsule_GetName(capsules[name])
        if signature.count(b"int *") != 6 or signature.count(b"*") != 13:
            return None
        found.append(api.PyCapsule_GetPointer(capsules[name], signature))
    return found[0], found[1]

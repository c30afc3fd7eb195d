"""Compilation of the functions of this package."""

import functools
import hashlib
import inspect
import os
import sys
import threading
from pathlib import Path

import numba
import numpy as np
from numba.core import event, types
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import compile_internal
from numba.core.targetconfig import ConfigStack
from numba.extending import lower_builtin, type_callable

# Not all of `fastmath`, which assumes that there is no NaN: a divergence would go unnoticed.
_OPTIONS = {
    "nogil": True,
    "_nrt": False,  # nothing is allocated, so nothing needs to be counted
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}
_NEWS = "sklearn_dropout: compiling the training loop, once for this {} ...\n"
_PATIENCE = 1.0  # seconds


def inner(returns, inline=False):
    """Decorate a function that only compiled functions call.

    It becomes part of their machine code. A separate Numba dispatcher would be compiled again at
    each level of calls, with all functions that it calls, which takes half of the total time.

    Parameters
    ----------
    returns : Numba type or callable (*argument types) -> Numba type
    inline : bool, default=False
        Whether to write it out where it is called. A call passes each array as seven numbers or
        more, which took up to a third of a step of a small network.
    """

    def decorate(function):
        if numba.config.DISABLE_JIT:
            return function

        @type_callable(function)
        def typing(context):
            def type_of_call(*args):
                return returns if isinstance(returns, types.Type) else returns(*args)

            type_of_call.__signature__ = inspect.signature(function)
            return type_of_call

        @lower_builtin(function, types.VarArg(types.Any))
        def lowering(context, builder, signature, args):
            chosen = getattr(function, "implementations", {}).get(signature.args[0], function)
            included = _include(context, chosen, signature, inline)
            return context.call_internal(builder, included.fndesc, signature, args)

        return function

    return decorate


class _IncludedCode(JITCodeLibrary):
    """Code that its callers include: it needs no machine code of its own."""

    def __init__(self, codegen, name, inline):
        super().__init__(codegen, name)
        self._inline = inline

    def add_ir_module(self, module):
        """See `numba.core.codegen.CodeLibrary`."""
        for function in module.functions if self._inline else ():
            # For debuggers Numba forbids it.
            if not function.is_declaration and "noinline" not in function.attributes:
                function.attributes.add("alwaysinline")
        super().add_ir_module(module)

    def _finalize_final_module(self):
        self._finalized = True


def _include(context, function, signature, inline):
    """Compile a function, once for each signature, and include it in the code of its caller.

    The same as Numba's `compile_subroutine`, which also makes machine code of the function alone:
    a quarter of the time of a compilation.
    """
    key = function, signature
    if key not in context.cached_internal_func:
        flags = ConfigStack.top_or_none().copy()  # of the caller
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        context.cached_internal_func[key] = compile_internal(
            context.typing_context,
            context,
            _IncludedCode(context.codegen(), function.__name__, inline),
            function,
            signature.args,
            signature.return_type,
            flags,
            locals={},
        )
    included = context.cached_internal_func[key]
    context.active_code_library.add_linking_library(included.library)
    return included


def python_where_not_compiled(function):
    """Replace an intrinsic by a Python function if Numba is configured not to compile."""
    return lambda compiled: function if numba.config.DISABLE_JIT else compiled


def first_type(*args):
    """The type of the first argument."""
    return args[0]


_compiling = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A forked child has no other thread that could release it.
    os.register_at_fork(after_in_child=_compiling._at_fork_reinit)  # type: ignore[attr-defined]


def _sources():
    """A short digest of the source of this package.

    Numba's cache notices changes in the file of a function, but not in the functions it calls.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        for path in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(path.read_bytes())
    except OSError:
        pass
    return digest.hexdigest()[:12]


class _Cache(FunctionCache):
    """Numba's cache of machine code on disk.

    Before Numba loads machine code, it registers its implementations of all functions, which takes
    0.3 seconds. Only compilation needs them, and registers them too.
    """

    def load_overload(self, sig, target_context):
        """See `numba.core.caching.Cache`."""
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _Announcement(event.Listener):
    """Prints one line that the loop is being compiled, if that takes more than a second.

    Numba reports compilations, but not machine code that it loads from disk.
    """

    def __init__(self, text):
        self._text = text
        self._timer = None

    def on_start(self, event):
        """See `numba.core.event.Listener`."""
        if self._timer is None:
            self._timer = threading.Timer(_PATIENCE, sys.stderr.write, [self._text])
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event):
        """See `numba.core.event.Listener`."""

    def close(self):
        """Stop: print nothing from now on."""
        if self._timer is not None:
            self._timer.cancel()


class Entry:
    """A compiled function that Python calls.

    Its machine code is cached on disk if a folder can be written to. It is compiled or loaded at
    the first call, once for each precision.

    Parameters
    ----------
    function : callable
        Takes the same types at each call, except for the precision of its argument ``params``.
    """

    def __init__(self, function):
        names = function.__code__.co_varnames
        self._precision = names.index("params")
        self._ready = set()
        function.__qualname__ = f"{function.__name__}_{_sources()}"
        self.dispatcher = numba.njit(no_cfunc_wrapper=True, **_OPTIONS)(function)
        try:
            self.dispatcher._cache = _Cache(function)
            self._news = _NEWS.format("installation")
        except RuntimeError:  # no cache folder can be written to
            self._news = _NEWS.format("process")

    def __call__(self, *args):
        """Compile for the precision of the arguments if need be, and run."""
        if args[self._precision].dtype not in self._ready:
            self._compile(args)
        return self.dispatcher(*args)

    def _compile(self, args):
        types = tuple(numba.typeof(arg) for arg in args)
        announcement = _Announcement(self._news)
        with _compiling:
            try:
                with event.install_listener("numba:compile", announcement):
                    self.dispatcher.compile(types)
            except OSError:
                # Saving failed; unless the code is in memory, the next call compiles again.
                pass
            finally:
                announcement.close()
            self._ready.add(args[self._precision].dtype)


def entry(function):
    """Decorate a function that Python calls: an `Entry`, or itself if Numba does not compile."""
    if not numba.config.DISABLE_JIT:
        return Entry(function)

    @functools.wraps(function)
    def in_python(*args):
        with np.errstate(all="ignore"):  # products of random words overflow
            return function(*args)

    return in_python

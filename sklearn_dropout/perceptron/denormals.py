"""Denormal numbers as zeros, in the calling thread.

The moments of weights that no longer receive a gradient decay into denormal numbers, on which
arithmetic is many times slower on some processors. The setting is a control word of the processor;
on unknown processors nothing is done.
"""

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compile import python_where_not_compiled

_X86 = platform.machine().lower() in {"x86_64", "amd64"}
_ARM = platform.machine().lower() in {"aarch64", "arm64"}
# Flush to zero and, on x86, "denormals are zeros".
FLUSH = 0x8040 if _X86 else 1 << 24 if _ARM else 0

_word, _long, _void = ir.IntType(32), ir.IntType(64), ir.VoidType()


def _intrinsic(builder, name, result, *arguments):
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, arguments), f"llvm.{name}"
    )


@python_where_not_compiled(lambda: 0)
@intrinsic
def control_word(typingctx):
    """The control word of this thread for floating-point numbers."""

    def codegen(context, builder, signature, args):
        if _X86:
            slot = cgutils.alloca_once(builder, _word)
            store = _intrinsic(builder, "x86.sse.stmxcsr", _void, cgutils.voidptr_t)
            builder.call(store, [builder.bitcast(slot, cgutils.voidptr_t)])
            return builder.zext(builder.load(slot), _long)
        if _ARM:
            return builder.call(_intrinsic(builder, "aarch64.get.fpcr", _long), [])
        return ir.Constant(_long, 0)

    return types.int64(), codegen


@python_where_not_compiled(lambda word: None)
@intrinsic
def set_control_word(typingctx, word):
    """Set the control word of this thread."""

    def codegen(context, builder, signature, args):
        if _X86:
            slot = cgutils.alloca_once(builder, _word)
            builder.store(builder.trunc(args[0], _word), slot)
            load = _intrinsic(builder, "x86.sse.ldmxcsr", _void, cgutils.voidptr_t)
            builder.call(load, [builder.bitcast(slot, cgutils.voidptr_t)])
        elif _ARM:
            builder.call(_intrinsic(builder, "aarch64.set.fpcr", _void, _long), args)
        return context.get_dummy_value()

    return types.void(types.int64), codegen

"""Small LLVM modules that the toolchain tests compile."""

from __future__ import annotations

AXPY = """
define void @axpy(ptr noalias %x, ptr noalias %y, float %a, i32 %n) nounwind "no-builtins" {
entry:
  br label %loop
loop:
  %i = phi i32 [0, %entry], [%j, %loop]
  %p = getelementptr float, ptr %x, i32 %i
  %q = getelementptr float, ptr %y, i32 %i
  %u = load float, ptr %p, align 4
  %v = load float, ptr %q, align 4
  %m = fmul float %u, %a
  %s = fadd float %m, %v
  store float %s, ptr %q, align 4
  %j = add nuw i32 %i, 1
  %c = icmp ult i32 %j, %n
  br i1 %c, label %loop, label %done
done:
  ret void
}
"""
"""A float loop: y[i] += a * x[i] for i in 0 .. n-1, n at least 1."""

CANNOT_SELECT = """
declare <4 x float> @llvm.aarch64.neon.fmaxp.v4f32(<4 x float>, <4 x float>)
define <4 x float> @pairwise(<4 x float> %a) nounwind {
  %r = call <4 x float> @llvm.aarch64.neon.fmaxp.v4f32(<4 x float> %a, <4 x float> %a)
  ret <4 x float> %r
}
"""
"""An AArch64 instruction; for any other machine, LLVM ends the process."""

WITH_WEIGHTS = (
    AXPY
    + """
@nn_weights = external hidden constant [16 x float]

define hidden float @inner(i32 %i) nounwind noinline "no-builtins" {
  %p = getelementptr float, ptr @nn_weights, i32 %i
  %r = load float, ptr %p, align 4
  ret float %r
}

define float @weight(i32 %i) nounwind "no-builtins" {
  %r = call float @inner(i32 %i)
  ret float %r
}

define hidden float @unused(float %x) nounwind "no-builtins" {
  ret float %x
}
"""
)
"""Two API functions; `weight(i)` reads the data object `nn_weights` through a hidden function."""

API = ("axpy", "weight")

WITH_THREADS = """
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)

define i32 @wait(ptr %m, ptr %c) nounwind {
  %a = call i32 @pthread_mutex_lock(ptr %m)
  %b = call i32 @pthread_cond_wait(ptr %c, ptr %m)
  ret i32 %b
}
"""

"""Words that cannot be names in generated files, grouped by the reason."""

from __future__ import annotations

import keyword
import sys

_C_AND_CXX = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
constinit continue contract_assert decltype default delete do double dynamic_cast else enum explicit
export extern false final float for friend goto if import inline int long module mutable namespace
new noexcept not not_eq nullptr operator or or_eq override private protected public register
reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast
struct switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual
union unsigned using virtual void volatile wchar_t while xor xor_eq
"""

# Types of <stddef.h>, <stdint.h>, <wchar.h> and <sys/types.h>.
_TYPES = """
size_t ssize_t rsize_t ptrdiff_t nullptr_t max_align_t wint_t intptr_t uintptr_t intmax_t uintmax_t
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t
int_least8_t int_least16_t int_least32_t int_least64_t
uint_least8_t uint_least16_t uint_least32_t uint_least64_t
int_fast8_t int_fast16_t int_fast32_t int_fast64_t
uint_fast8_t uint_fast16_t uint_fast32_t uint_fast64_t
"""

# Macros that compilers predefine in GNU modes, or that are in headers which programs often include
# besides the header of a model.
_MACROS = """
linux unix i386 i486 i586 i686 mips sparc sun sgi vax hpux m68k mc68000 tahoe pyr bfin vms arm
offsetof assert errno stdin stdout stderr complex imaginary noreturn alloca min max near far
interface small hyper bit L_tmpnam L_ctermid L_cuserid P_tmpdir math_errhandling
I F Bool Status Success Always
"""

_TEMPLATES = """
m in out f i k r threads bytes abi arena context get instance ready index shape shapes key none
entries nothing inputs outputs frame begin end size TensorShape ELL_TensorShape
"""

WORDS = frozenset([*_C_AND_CXX.split(), *_TYPES.split(), *keyword.kwlist, *keyword.softkwlist])
"""Words that cannot be names: keywords and types of C (up to C23), C++ (up to C++26) and Python."""

MACROS = frozenset(_MACROS.split())
"""Macros that cannot be names of ports. `names` recognises macros that have only capitals."""

PARAMETERS = frozenset(_TEMPLATES.split())
"""Names that the C templates use in functions in which ports are also named."""

# The file of a model with such a name would hide another Python module.
_MODULES = sys.stdlib_module_names | {"numpy", "cffi", "sitecustomize", "usercustomize"}

# NAME_t, NAME_init, NAME_destroy, ... are types and functions of the C library.
_FAMILIES = """
wchar char8 char16 char32 sem mtx cnd tss thrd div ldiv lldiv fpos time clock off pid uid gid mode
id key regex iconv va_list jmp_buf sigset mbstate locale atomic
"""

# Libraries: `-lm`, or CMake's `target_link_libraries(x m)`, would find the library of the model.
_LIBRARIES = "c m dl rt pthread util stdc gcc gcc_s atomic resolv crypt unwind"

_FILES = "demo ellc ellc_pool ellc_clock ellc_step CMakeLists"

_TARGETS = """
all test help clean install package package_source edit_cache rebuild_cache preinstall
ALL_BUILD ZERO_CHECK RUN_TESTS INSTALL PACKAGE
"""

_DEVICES = """
con prn aux nul com0 com1 com2 com3 com4 com5 com6 com7 com8 com9
lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9
"""

_TAKEN_FOR_MODELS = _MODULES.union(
    (word.removesuffix("_t") for word in _TYPES.split()),
    *(words.split() for words in (_FAMILIES, _LIBRARIES, _FILES, _TARGETS)),
)


def is_taken_for_models(name: str) -> bool:
    """Whether files or functions of a model with this name would hide others.

    The others are Python modules, C types and functions, libraries, other generated files, CMake
    targets and Windows devices.
    """
    is_device = name.lower() in _DEVICES.split()
    return is_device or name in _TAKEN_FOR_MODELS or name.startswith("pthread_")

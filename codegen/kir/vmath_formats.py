"""Constants of the elementary functions, one set for each floating-point format.

Coefficients have the lowest power first. They are minimax fits (Remez exchange with 50 digits) that
minimise the error relative to the function's value. The comment on each list
of coefficients gives this error.
"""

from __future__ import annotations

from dataclasses import dataclass

from ellc.codegen.kir.types import Elem


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """One floating-point format. `bits` is the signed integer type of the same size."""

    elem: Elem
    bits: Elem
    fraction_bits: int
    bias: int
    split_mask: int
    """The mask for the upper half of the significand. Products of two upper halves are exact."""

    ln2: tuple[float, float]
    """ln 2 as a sum that is twice as precise as the format. The product of the first part and any
    exponent is exact."""
    half_pi: tuple[float, ...]
    """pi/2 as a sum. The product of a part and any integer up to `trig_limit` * 2/pi is exact."""
    trig_limit: float
    """Angles of larger magnitude are multiplied by 1 / (2 pi) in integers to reduce them."""
    turn_digits: int
    """The number of 32-bit digits of 1 / (2 pi) that this multiplication uses."""
    rest_digits: int
    """The number of 32-bit digits of the product that form the reduced angle. They have at least
    twice the bits of the format, because half of these bits are 0 for the float that is closest to
    a multiple of pi/2."""
    exp_range: tuple[float, float]
    """exp is 0 below the first bound, and infinity above the second."""
    tanh_limit: float
    """For x at or above this, tanh(x) rounds to 1."""
    erfc_limit: float
    """For x at or above this, erfc(x) rounds to 0."""
    power_limit: float
    """x^y is 0, 1 or infinity for any x if the magnitude of y is larger than this."""

    exp: tuple[float, ...]
    """(expm1(r) - r) / r^2 for |r| <= 0.37."""
    log: tuple[float, ...]
    """(log1p(f) - f + f^2/2) / f^3 for sqrt(1/2) <= 1 + f <= sqrt(2). If empty, `log_ratio` is
    used."""
    log_ratio: tuple[float, ...]
    """(log((1 + s) / (1 - s)) - 2 s) / s^3 in powers of s^2, for |s| <= 0.1716."""
    sin: tuple[float, ...]
    """(sin(r) - r) / r^3 in powers of r^2, for |r| <= 0.81."""
    cos: tuple[float, ...]
    """(cos(r) - 1 + r^2/2) / r^4 in powers of r^2, for |r| <= 0.81."""
    erf: tuple[float, ...]
    """erf(x) / x in powers of x^2, for |x| <= 1."""
    erfc: tuple[float, ...]
    """erfc(t) exp(t^2) (t + 3) in powers of (t - 3) / (t + 3), for 0.45 <= t <= `erfc_limit`."""
    atan: tuple[float, ...]
    """(atan(x) - x) / x^3 in powers of x^2, for |x| <= tan(pi/8)."""
    asin: tuple[float, ...]
    """(asin(x) - x) / x^3 in powers of x^2, for |x| <= 1/2."""

    @property
    def round_magic(self) -> float:
        """A number that, added to a small x, leaves the integer nearest to x in the low bits."""
        return 1.5 * 2.0**self.fraction_bits

    @property
    def sign_mask(self) -> int:
        """The mask for the sign bit."""
        return 1 << (self.bits.bytes * 8 - 1)


F32_FORMAT = FloatFormat(
    elem=Elem.F32,
    bits=Elem.I32,
    fraction_bits=23,
    bias=127,
    split_mask=0xFFFFF000,
    ln2=(0.693145751953125, 1.428606765330187e-06),
    half_pi=(1.5703125, 0.00048351287841796875, 3.1385570764541626e-07, 6.07710062827671e-11),
    trig_limit=40000.0,
    turn_digits=3,
    rest_digits=2,
    exp_range=(-104.0, 89.0),
    tanh_limit=10.0,
    erfc_limit=11.0,
    power_limit=2.0**32,
    exp=(  # 2e-8
        0.4999999701976776,
        0.16666506230831146,
        0.041667357087135315,
        0.008371151052415371,
        0.0013881641207262874,
    ),
    log=(  # 8e-10
        0.3333331346511841,
        -0.25000008940696716,
        0.2000211924314499,
        -0.1666799634695053,
        0.14219552278518677,
        -0.12405585497617722,
        0.11888165771961212,
        -0.11675673723220825,
        0.06746659427881241,
    ),
    log_ratio=(0.6666677594184875, 0.3997752070426941, 0.29872310161590576),  # 2e-9
    sin=(  # 5e-9
        -0.16666652262210846,
        0.00833202712237835,
        -0.0001949685683939606,
    ),
    cos=(  # 2e-10
        0.04166664183139801,
        -0.0013887168606743217,
        2.441551987431012e-05,
    ),
    erf=(  # 1e-9
        1.1283791065216064,
        -0.3761262595653534,
        0.1128358542919159,
        -0.026853810995817184,
        0.005188327748328447,
        -0.0008010193705558777,
        7.853860734030604e-05,
    ),
    erfc=(  # 2e-9
        1.0740069150924683,
        -0.8833944797515869,
        0.5902281403541565,
        -0.3104666769504547,
        0.1195315346121788,
        -0.026833388954401016,
        -0.001240015379153192,
        0.003055679379031062,
        -0.0004606853472068906,
        -0.0002909520117100328,
    ),
    atan=(  # 2e-8
        -0.3333294987678528,
        0.19977682828903198,
        -0.13877364993095398,
        0.0805264413356781,
    ),
    asin=(  # 5e-9
        0.16666753590106964,
        0.07495252788066864,
        0.04547654837369919,
        0.024146636947989464,
        0.04222598671913147,
    ),
)

F64_FORMAT = FloatFormat(
    elem=Elem.F64,
    bits=Elem.I64,
    fraction_bits=52,
    bias=1023,
    split_mask=0xFFFFFFFFF8000000,
    ln2=(0.6931471803691238, 1.9082149292705877e-10),
    half_pi=(1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21),
    trig_limit=1647099.0,
    turn_digits=6,
    rest_digits=4,
    exp_range=(-746.0, 710.0),
    tanh_limit=20.0,
    erfc_limit=28.0,
    power_limit=2.0**65,
    exp=(  # 6e-19
        0.5,
        0.16666666666666685,
        0.041666666666666366,
        0.008333333333313715,
        0.0013888888889012762,
        0.00019841269907382937,
        2.4801587110666993e-05,
        2.7557222044296344e-06,
        2.755742752838478e-07,
        2.511691336908465e-08,
        2.087513515790102e-09,
    ),
    log=(),
    log_ratio=(  # 3e-18
        0.6666666666666735,
        0.3999999999941313,
        0.28571428742766,
        0.22222198531139853,
        0.1818356666871459,
        0.15313986789503725,
        0.1479662431516472,
    ),
    sin=(  # 6e-18
        -0.16666666666666616,
        0.008333333333318491,
        -0.00019841269826619215,
        2.7557312574405896e-06,
        -2.5050582056984942e-08,
        1.58865595319965e-10,
    ),
    cos=(  # 8e-20
        0.04166666666666657,
        -0.0013888888888868819,
        2.480158728611424e-05,
        -2.755731336808169e-07,
        2.087558846588795e-09,
        -1.1352637044551257e-11,
    ),
    erf=(  # 2e-19
        1.1283791670955126,
        -0.3761263890318375,
        0.11283791670954857,
        -0.026866170645072896,
        0.005223977624780864,
        -0.0008548326978742073,
        0.00012055331036895284,
        -1.492559350679061e-05,
        1.646097281545626e-06,
        -1.6350025206215847e-07,
        1.4657879733255431e-08,
        -1.1365665549352247e-09,
        5.945261070420991e-11,
    ),
    erfc=(  # 3e-17
        1.0740069070883396,
        -0.8833944531698836,
        0.5902283571041111,
        -0.31046726190057844,
        0.11952776128672071,
        -0.026827234623885286,
        -0.001212416613733978,
        0.003034061987656546,
        -0.0005483098534787278,
        -0.00027677768453374205,
        0.00010756260272930154,
        3.039703714864598e-05,
        -1.7475269949730854e-05,
        -4.744414251818061e-06,
        2.777731453134583e-06,
        9.86081085205515e-07,
        -4.2775814385471765e-07,
        -2.1267033252536482e-07,
        6.414957989439508e-08,
        3.1305782816198095e-08,
        -8.851504837279447e-09,
    ),
    atan=(  # 4e-17
        -0.3333333333333014,
        0.1999999999908577,
        -0.14285714194985566,
        0.11111106641903665,
        -0.0909078213339188,
        0.07690064289792622,
        -0.06641085811825162,
        0.05692351584656764,
        -0.04358548450811519,
        0.021253092368809658,
    ),
    asin=(  # 2e-17
        0.16666666666665375,
        0.07500000000345751,
        0.04464285682082149,
        0.030381959457306117,
        0.02237175013672198,
        0.017359827302975715,
        0.013883995966674516,
        0.01217752810105112,
        0.006491282247169856,
        0.019630563226995825,
        -0.016387596962758752,
        0.03202608501703082,
    ),
)


def format_of(elem: Elem) -> FloatFormat:
    """The format of a floating-point element type. Raises `ValueError` for other types."""
    match elem:
        case Elem.F32:
            return F32_FORMAT
        case Elem.F64:
            return F64_FORMAT
    raise ValueError(f"elementary functions take f32 and f64, not {elem.value}")

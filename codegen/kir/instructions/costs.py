"""The costs of instructions on cores, written by tests/benchmarks/instruction_costs.py.

The keys are the name of the core, its architecture, and the name of the instruction's row. Costs on
Cortex-A53, M4, M7 and M33 come from models. Costs on znver5 were measured on an AMD EPYC. There are
no sources for other cores, nor for WebAssembly, whose costs depend on the machine that runs it. The
model of the Cortex-A53 does not list vrshl, so the latency of srshl on 32-bit ARM is a guess.
"""

from __future__ import annotations

from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.cost import Cost

COSTS: dict[str, dict[Arch, dict[str, Cost]]] = {
    "cortex-a53": {
        "aarch64": {
            "neon_smull_8b": Cost(1, 4, None, ("integer", "load")),
            "neon_smlal_8b": Cost(1, 4, 1, ("integer", "load")),
            "neon_umull_8b": Cost(1, 4, None, ("integer", "load")),
            "neon_umlal_8b": Cost(1, 4, 1, ("integer", "load")),
            "neon_smull_4h": Cost(1, 4, None, ("integer", "load")),
            "neon_smlal_4h": Cost(1, 4, 1, ("integer", "load")),
            "neon_umull_4h": Cost(1, 4, None, ("integer", "load")),
            "neon_umlal_4h": Cost(1, 4, 1, ("integer", "load")),
            "neon_sadalp_16b": Cost(1, 4, 1, ("integer", "load")),
            "neon_uadalp_16b": Cost(1, 4, 1, ("integer", "load")),
            "neon_sadalp_8h": Cost(1, 4, 1, ("integer", "load")),
            "neon_uadalp_8h": Cost(1, 4, 1, ("integer", "load")),
            "neon_sqrdmulh_2s": Cost(0.5, 4, None, ("integer", "load", "vector_load", "vector")),
            "neon_srshl_2s": Cost(0.5, 3, None, ("integer", "load", "vector_load", "vector")),
            "neon_sqrdmulh_4s": Cost(1, 4, None, ("integer", "load")),
            "neon_srshl_4s": Cost(1, 3, None, ("integer", "load")),
            "neon_tbl1_8b": Cost(1, 2, None, ("integer", "load")),
            "neon_tbx1_8b": Cost(1, 2, 1, ("integer", "load")),
            "neon_tbl2_8b": Cost(2, 3, None, ("integer", "load")),
            "neon_tbx2_8b": Cost(2, 3, 2, ("integer", "load")),
            "neon_tbl3_8b": Cost(3, 4, None, ("integer", "load")),
            "neon_tbx3_8b": Cost(3, 4, 3, ("integer", "load")),
            "neon_tbl4_8b": Cost(4, 5, None, ("integer", "load")),
            "neon_tbx4_8b": Cost(4, 5, 4, ("integer", "load")),
            "neon_tbl1_16b": Cost(1, 2, None, ("integer", "load")),
            "neon_tbx1_16b": Cost(1, 2, 1, ("integer", "load")),
            "neon_tbl2_16b": Cost(2, 3, None, ("integer", "load")),
            "neon_tbx2_16b": Cost(2, 3, 2, ("integer", "load")),
            "neon_tbl3_16b": Cost(3, 4, None, ("integer", "load")),
            "neon_tbx3_16b": Cost(3, 4, 3, ("integer", "load")),
            "neon_tbl4_16b": Cost(4, 5, None, ("integer", "load")),
            "neon_tbx4_16b": Cost(4, 5, 4, ("integer", "load")),
        },
        "arm": {
            "neon_smull_8b": Cost(1, 4, None, ("integer", "load")),
            "neon_smlal_8b": Cost(1, 4, 1, ("integer", "load")),
            "neon_umull_8b": Cost(1, 4, None, ("integer", "load")),
            "neon_umlal_8b": Cost(1, 4, 1, ("integer", "load")),
            "neon_smull_4h": Cost(1, 4, None, ("integer", "load")),
            "neon_smlal_4h": Cost(1, 4, 1, ("integer", "load")),
            "neon_umull_4h": Cost(1, 4, None, ("integer", "load")),
            "neon_umlal_4h": Cost(1, 4, 1, ("integer", "load")),
            "neon_sadalp_16b": Cost(1, 4, 1, ("integer", "load")),
            "neon_uadalp_16b": Cost(1, 4, 1, ("integer", "load")),
            "neon_sadalp_8h": Cost(1, 4, 1, ("integer", "load")),
            "neon_uadalp_8h": Cost(1, 4, 1, ("integer", "load")),
            "neon_sqrdmulh_2s": Cost(0.5, 4, None, ("integer", "load", "vector_load", "vector")),
            "neon_srshl_2s": Cost(0.5, 4, None, ("integer", "load", "vector_load", "vector")),
            "neon_sqrdmulh_4s": Cost(1, 4, None, ("integer", "load")),
            "neon_srshl_4s": Cost(1, 4, None, ("integer", "load")),
        },
    },
    "cortex-m33": {
        "arm": {
            "dsp_smuad": Cost(1, 2),
            "dsp_smlad": Cost(1, 2, 1),
            "dsp_smlald": Cost(1, 2, 1),
            "dsp_sxtb16": Cost(1, 2),
            "dsp_sxtb16_ror8": Cost(1, 2),
            "dsp_uxtb16": Cost(1, 2),
            "dsp_uxtb16_ror8": Cost(1, 2),
        },
    },
    "cortex-m4": {
        "arm": {
            "dsp_smuad": Cost(1, 1),
            "dsp_smlad": Cost(1, 1, 1),
            "dsp_smlald": Cost(1, 1, 1),
            "dsp_sxtb16": Cost(1, 1),
            "dsp_sxtb16_ror8": Cost(1, 1),
            "dsp_uxtb16": Cost(1, 1),
            "dsp_uxtb16_ror8": Cost(1, 1),
        },
    },
    "cortex-m7": {
        "arm": {
            "dsp_smuad": Cost(1, 2, None, ("integer", "load")),
            "dsp_smlad": Cost(1, 2, 1, ("integer", "load")),
            "dsp_smlald": Cost(1, 2, 1, ("integer", "load")),
            "dsp_sxtb16": Cost(1, 1, None, ("integer", "load")),
            "dsp_sxtb16_ror8": Cost(1, 1, None, ("integer", "load")),
            "dsp_uxtb16": Cost(1, 1, None, ("integer", "load")),
            "dsp_uxtb16_ror8": Cost(1, 1, None, ("integer", "load")),
        },
    },
    "znver5": {
        "x86_64": {
            "x86_pmaddwd_128": Cost(0.5, 3),
            "x86_pmaddwd_256": Cost(0.5, 3),
            "x86_pmaddwd_512": Cost(0.5, 3),
            "x86_pmaddubsw_128": Cost(0.5, 3),
            "x86_pmaddubsw_256": Cost(0.5, 3),
            "x86_pmaddubsw_512": Cost(0.5, 3),
            "x86_pmulhrsw_128": Cost(0.5, 3),
            "x86_pmulhrsw_256": Cost(0.5, 3),
            "x86_pmulhrsw_512": Cost(0.5, 3),
            "x86_vpdpbusd_128": Cost(0.5, 4, 4),
            "x86_vpdpbusd_256": Cost(0.5, 4, 4),
            "x86_vpdpbusd_512": Cost(0.5, 4, 4),
            "x86_vpdpwssd_128": Cost(0.5, 4, 4),
            "x86_vpdpwssd_256": Cost(0.5, 4, 4),
            "x86_vpdpwssd_512": Cost(0.5, 4, 4),
        },
    },
}

"""The `.ell` archive of Microsoft's Embedded Learning Library: reading and writing.

    bytes -> container -> json_text -> values (exact) -> archive (typed) -> graph

`ellc/frontends/ell/README.md` describes each file.
"""

"""Families of published networks; each module has related families."""

from ellc.zoo.architecture import NetworkFamily
from ellc.zoo.families import (
    binary,
    classic,
    efficientnet,
    inception,
    mnasnet,
    mobilenet,
    mobilenet_v3,
    resnet,
    shufflenet,
    squeezenet,
    tiny,
)

FAMILIES: tuple[NetworkFamily, ...] = (
    *classic.FAMILIES,
    *inception.FAMILIES,
    *resnet.FAMILIES,
    *squeezenet.FAMILIES,
    *mobilenet.FAMILIES,
    *mobilenet_v3.FAMILIES,
    *mnasnet.FAMILIES,
    *efficientnet.FAMILIES,
    *shufflenet.FAMILIES,
    *binary.FAMILIES,
    *tiny.FAMILIES,
)

__all__ = ["FAMILIES"]

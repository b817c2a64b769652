"""Problem data: frozen, validated instances and the distributions that they are drawn from."""

from hisopt.instances.common import (
    SCHEMA_VERSION,
    Gpu,
    Latent,
    PublicPrompt,
    QualityTable,
    Radio,
    StepLimits,
    Weights,
    norm_fault,
)
from hisopt.instances.his import Instance
from hisopt.instances.icc import IccInstance
from hisopt.instances.meg import Chance, MegChannel, MegInstance

AnyInstance = Instance | IccInstance | MegInstance
__all__ = [
    "SCHEMA_VERSION", "AnyInstance", "Chance", "Gpu", "IccInstance", "Instance", "Latent", "MegChannel", "MegInstance",
    "PublicPrompt", "QualityTable", "Radio", "StepLimits", "Weights", "norm_fault",
]  # fmt: skip

"""Our detectors inside mmdet3d 1.4: `custom_imports = dict(imports=['aqr_core.mmdet3d'], allow_failed_imports=False)`.

Importing this registers in mmdet3d's registries, whatever names they have left free:

| type | registry | what |
| --- | --- | --- |
| `CmtDetector` | MODELS | our detector with the interface of a `Base3DDetector`; its config is our `model` section |
| `VoVNet`, `CPFPN`, `CmtHead`, ... | MODELS | our parts; all of them, also those whose names are taken, as `aqr.NAME` |
| `AqrDataPreprocessor` | MODELS | mmdet3d's collated batch -> our `Batch` |
| `AqrTransforms`, `PackAqrInputs` | TRANSFORMS | our transforms on mmdet3d's result dicts |
| `AqrHook` | HOOKS | the epoch for steps with `until_epoch`, and the check of the classes |

docs/mmdet3d.md says how to use them. This is the only folder of the project that imports mmdet3d, mmdet or mmcv.
"""

from aqr_core.extras import require_mmdet3d

require_mmdet3d("aqr_core.mmdet3d")

from aqr_core.mmdet3d.checkpoints import admit_checkpoints  # noqa: E402 - what is broken is told before it is imported
from aqr_core.mmdet3d.detector import CmtDetector  # noqa: E402
from aqr_core.mmdet3d.hook import AqrHook  # noqa: E402
from aqr_core.mmdet3d.names import register_free_names  # noqa: E402
from aqr_core.mmdet3d.packing import PackAqrInputs  # noqa: E402
from aqr_core.mmdet3d.preprocessor import AqrDataPreprocessor  # noqa: E402
from aqr_core.mmdet3d.transforms import AqrTransforms  # noqa: E402

admit_checkpoints()
register_free_names()

__all__ = ["AqrDataPreprocessor", "AqrHook", "AqrTransforms", "CmtDetector", "PackAqrInputs"]

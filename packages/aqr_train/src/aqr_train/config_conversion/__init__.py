"""mmcv-1.x configs of CMT as configs of ours, with an account of every field: `aqr convert-config`.

`source` reads the file, `fields` hands its fields out and writes down in the `ledger` what became of each, the other
modules know one section each, `conversion` puts them together and checks the result.
"""

from aqr_train.config_conversion.conversion import Conversion, convert_config

__all__ = ["Conversion", "convert_config"]

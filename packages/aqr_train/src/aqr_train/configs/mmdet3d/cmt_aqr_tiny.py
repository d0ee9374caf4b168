"""AQR v3 in small under mmdet3d's runner, from random weights: the model of `cmt_aqr_tiny_scratch`.

    python $MIM/tools/train.py $CONFIGS/cmt_aqr_tiny.py --work-dir work_dirs/mmdet3d_cmt_aqr_tiny

Hardware: two CPU cores. Result: not run to the end here; docs/mmdet3d.md says what was.
"""

_base_ = ["cmt_tiny.py", "../_base_/aqr/tiny.py"]

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        attention_bias_config=_base_._bias,
    )
)

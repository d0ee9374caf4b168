"""CMT on cameras alone, VoVNet-99 at 1600x640. Upstream has no grid mask here."""

_base_ = ["../datasets/nus_camera_1600x640.py", "cmt_head.py"]

model = dict(
    img_backbone=dict(type="VoVNet", spec_name="V-99-eSE", out_features=("stage4", "stage5"), norm_eval=True),
    img_neck=dict(type="CPFPN", in_channels=[768, 1024], out_channels=256, num_outs=2),
    pts_bbox_head=dict(
        type="CmtImageHead",
        bbox_coder=dict(pc_range=_base_._point_cloud_range),
        transformer=dict(type="CmtImageTransformer"),
    ),
)

"""CMT fusion, VoVNet-99 at 1600x640, voxels of 0.075 m."""

_base_ = ["../datasets/nus_fusion_1600x640.py", "cmt_lidar_branch.py"]

_voxel_size = [0.075, 0.075, 0.2]
_feature_maps = dict(bev_feature_shape=(180, 180), pers_feature_shape=(6, 40, 100))

model = dict(
    use_grid_mask=True,
    img_backbone=dict(type="VoVNet", spec_name="V-99-eSE", out_features=("stage4", "stage5"), norm_eval=True),
    img_neck=dict(type="CPFPN", in_channels=[768, 1024], out_channels=256, num_outs=2),
    pts_voxel_layer=dict(voxel_size=_voxel_size, point_cloud_range=_base_._point_cloud_range),
    pts_bbox_head=dict(bbox_coder=dict(pc_range=_base_._point_cloud_range, voxel_size=_voxel_size)),
)

"""CMT fusion, ResNet-50 at 800x320, voxels of 0.1 m: upstream's model, whose released weights fit.

`sparse_shape` and `grid_size` stay at upstream's 1024 cells although the range holds 1080: LiDAR beyond x, y = 48.4 m
is dropped, and cell i is coded at (i + 0.5) / 128 of the 108 m, up to 5.6 m from where it lies. Released weights have
learned that. To train from scratch take `cmt_voxel0100_r50_800x320_cbgs_metric`.
"""

_base_ = ["../datasets/nus_fusion_800x320.py", "cmt_lidar_branch.py"]

_voxel_size = [0.1, 0.1, 0.2]
_feature_maps = dict(bev_feature_shape=(128, 128), pers_feature_shape=(6, 20, 50))

model = dict(
    use_grid_mask=True,
    img_backbone=dict(type="ResNet", depth=50, out_indices=(2, 3), norm_eval=True, with_cp=True),
    img_neck=dict(type="CPFPN", in_channels=[1024, 2048], out_channels=256, num_outs=2),
    pts_voxel_layer=dict(voxel_size=_voxel_size, point_cloud_range=_base_._point_cloud_range),
    pts_middle_encoder=dict(sparse_shape=[41, 1024, 1024]),
    pts_bbox_head=dict(bbox_coder=dict(pc_range=_base_._point_cloud_range, voxel_size=_voxel_size)),
    train_cfg=dict(pts=dict(grid_size=[1024, 1024, 40])),
)

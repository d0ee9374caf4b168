"""CMT on LiDAR alone, voxels of 0.075 m. Its task heads mix neighbouring queries (kernel 3), as upstream's do."""

_base_ = ["../datasets/nus_lidar.py", "cmt_lidar_branch.py"]

_voxel_size = [0.075, 0.075, 0.2]

model = dict(
    pts_voxel_layer=dict(voxel_size=_voxel_size, point_cloud_range=_base_._point_cloud_range),
    pts_bbox_head=dict(
        type="CmtLidarHead",
        bbox_coder=dict(pc_range=_base_._point_cloud_range, voxel_size=_voxel_size),
        separate_head=dict(final_kernel=3),
        transformer=dict(type="CmtLidarTransformer", decoder=dict(transformerlayers=dict(with_cp=True))),
    ),
)

"""mmdet3d's runtime and `NuScenesDataset` for our configs; a child names pipelines, batch and loop.

`NUSCENES_ROOT` and `NUSCENES_VERSION` in the environment say where the dataset is and which one; the infos are those of
mmdet3d's `create_data.py`.
"""

_base_ = "mmdet3d::_base_/default_runtime.py"

custom_imports = dict(imports=["aqr_core.mmdet3d"], allow_failed_imports=False)
custom_hooks = [dict(type="AqrHook")]

data_root = "{{$NUSCENES_ROOT:data/nuscenes}}/"
_metainfo = dict(
    version="{{$NUSCENES_VERSION:v1.0-trainval}}",
    # In the order of the head's tasks, which is not mmdet3d's.
    classes=[
        "car",
        "truck",
        "construction_vehicle",
        "bus",
        "trailer",
        "barrier",
        "motorcycle",
        "bicycle",
        "pedestrian",
        "traffic_cone",
    ],
)
_dataset = dict(
    type="NuScenesDataset",
    data_root=data_root,
    data_prefix=dict(
        pts="samples/LIDAR_TOP",
        sweeps="sweeps/LIDAR_TOP",
        CAM_FRONT="samples/CAM_FRONT",
        CAM_FRONT_LEFT="samples/CAM_FRONT_LEFT",
        CAM_FRONT_RIGHT="samples/CAM_FRONT_RIGHT",
        CAM_BACK="samples/CAM_BACK",
        CAM_BACK_LEFT="samples/CAM_BACK_LEFT",
        CAM_BACK_RIGHT="samples/CAM_BACK_RIGHT",
    ),
    metainfo=_metainfo,
    modality=dict(use_lidar=True, use_camera=True),
    box_type_3d="LiDAR",
)
_train_dataset = dict(_dataset, ann_file="nuscenes_infos_train.pkl")

val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(_dataset, ann_file="nuscenes_infos_val.pkl", test_mode=True),
)
val_evaluator = dict(
    type="NuScenesMetric",
    data_root=data_root,
    ann_file=data_root + "nuscenes_infos_val.pkl",
    metric="bbox",
)
val_cfg = dict()
test_cfg = dict()

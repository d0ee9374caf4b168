"""Configs as they lie in a checkout of CMT: names, nesting and values of its four official ones, as programs."""

from __future__ import annotations

from dataclasses import dataclass, field

START = """
plugin = True
plugin_dir = 'projects/mmdet3d_plugin/'  # is not there, and must not be asked for
point_cloud_range = [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0]
class_names = ['car', 'truck', 'construction_vehicle', 'bus', 'trailer',
               'barrier', 'motorcycle', 'bicycle', 'pedestrian', 'traffic_cone']
voxel_size = {voxel_size}
out_size_factor = 8
evaluation = dict(interval=20)
dataset_type = 'CustomNuScenesDataset'
data_root = 'data/nuscenes/'
input_modality = dict(use_lidar=True, use_camera={camera}, use_radar=False, use_map=False, use_external=False)
"""

START_IMAGES = """
img_norm_cfg = dict(mean=[103.530, 116.280, 123.675], std=[57.375, 57.120, 58.395], to_rgb=False)
ida_aug_conf = dict(resize_lim={resize}, final_dim={final}, bot_pct_lim=(0.0, 0.0), rot_lim=(0.0, 0.0),
                    H=900, W=1600, rand_flip=True)
"""

READ_POINTS = """
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=[0, 1, 2, 3, 4]),
    dict(type='LoadPointsFromMultiSweeps', sweeps_num=10, use_dim=[0, 1, 2, 3, 4]),"""
READ_IMAGES = """
    dict(type='LoadMultiViewImageFromFiles'),"""
READ_BOXES = """
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),"""
SAMPLER = """dict({kind}data_root=None, info_path=data_root + 'nuscenes_dbinfos_train.pkl', rate=1.0,
        prepare=dict(filter_by_difficulty=[-1], filter_by_min_points=dict((name, 5) for name in class_names)),
        classes=class_names,
        sample_groups=dict(zip(class_names, (2, 3, 7, 4, 6, 2, 6, 6, 2, 2))),
        points_loader=dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=[0, 1, 2, 3, 4]))"""
PASTE_BOTH = (
    """
    dict(type='UnifiedObjectSample', sample_2d=True, mixup_rate=0.5, db_sampler="""
    + SAMPLER.format(kind="type='UnifiedDataBaseSampler', ")
    + """),
    dict(type='ModalMask3D', mode='train'),"""
)
PASTE_POINTS = (
    """
    dict(type='ObjectSample', db_sampler="""
    + SAMPLER.format(kind="")
    + "),"
)
MOVE = """
    dict(type='{rotate}', rot_range=[-0.3925 * 2, 0.3925 * 2], scale_ratio_range=[0.9, 1.1],
         translation_std=[0.5, 0.5, 0.5]),
    dict(type='{flip}', sync_2d=False, flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),"""
MOVE_CAMERAS = """
    dict(type='GlobalRotScaleTransImage', rot_range=[-0.3925, 0.3925], translation_std=[0, 0, 0],
         scale_ratio_range=[0.95, 1.05], reverse_angle=True, training=True),"""
FILTER_POINTS = """
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),"""
FILTER_BOXES = """
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=class_names),"""
SHUFFLE = """
    dict(type='PointShuffle'),"""
IMAGES = """
    dict(type='ResizeCropFlipImage', data_aug_conf=ida_aug_conf, training={training}),
    dict(type='NormalizeMultiviewImage', **img_norm_cfg),
    dict(type='PadMultiViewImage', size_divisor=32),"""
COLLECT = """
    dict(type='DefaultFormatBundle3D', class_names=class_names{label}),
    dict(type='Collect3D', keys={keys}{meta}),"""
STILL = """
    dict(type='GlobalRotScaleTrans', rot_range=[0, 0], scale_ratio_range=[1.0, 1.0], translation_std=[0, 0, 0]),
    dict(type='RandomFlip3D'),"""

DATA = """
_common = dict(type=dataset_type, data_root=data_root, load_interval=1, classes=class_names, modality=input_modality,
               box_type_3d='LiDAR')
data = dict(
    samples_per_gpu={batch},
    workers_per_gpu=6,
    train=dict(type='CBGSDataset', dataset=dict(
        ann_file=data_root + '/nuscenes_infos_train.pkl', pipeline=train_pipeline, test_mode=False, **_common)),
    val=dict(ann_file=data_root + '/nuscenes_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **_common),
    test=dict(ann_file=data_root + '/nuscenes_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **_common))
"""

RESNET = """
    img_backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(2, 3), frozen_stages=-1,
                      norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True, with_cp=True, style='pytorch'),
    img_neck=dict(type='CPFPN', in_channels=[1024, 2048], out_channels=256, num_outs=2),"""
VOVNET = """
    img_backbone=dict(type='VoVNet', spec_name='V-99-eSE', norm_eval=True, frozen_stages=-1, input_ch=3,
                      out_features=('stage4', 'stage5')),
    img_neck=dict(type='CPFPN', in_channels=[768, 1024], out_channels=256, num_outs=2),"""
POINT_BRANCH = """
    pts_voxel_layer=dict(num_point_features=5, max_num_points=10, voxel_size=voxel_size, max_voxels=(120000, 160000),
                         point_cloud_range=point_cloud_range),
    pts_voxel_encoder=dict(type='HardSimpleVFE', num_features=5),
    pts_middle_encoder=dict(
        type='SparseEncoder', in_channels=5, sparse_shape=[41, {cells}, {cells}], output_channels=128,
        order=('conv', 'norm', 'act'),
        encoder_channels=((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
        encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)), block_type='basicblock'),
    pts_backbone=dict(type='SECOND', in_channels=256, out_channels=[128, 256], layer_nums=[5, 5], layer_strides=[1, 2],
                      norm_cfg=dict(type='BN', eps=0.001, momentum=0.01), conv_cfg=dict(type='Conv2d', bias=False)),
    pts_neck=dict(type='SECONDFPN', in_channels=[128, 256], out_channels=[256, 256], upsample_strides=[1, 2],
                  norm_cfg=dict(type='BN', eps=0.001, momentum=0.01), upsample_cfg=dict(type='deconv', bias=False),
                  use_conv_for_no_stride=True),"""
MODEL = """
_weights = [2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2]
model = dict(
    type='CmtDetector',{grid_mask}{branches}
    pts_bbox_head=dict(
        type='Cmt{sensor}Head', in_channels=512, hidden_dim=256, downsample_scale=8,{aqr}
        common_heads=dict(center=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        tasks=[dict(num_class=10, class_names=class_names)],
        bbox_coder=dict(type='MultiTaskBBoxCoder', post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
                        pc_range=point_cloud_range, max_num=300, voxel_size=voxel_size, num_classes=10),
        separate_head=dict(type='SeparateTaskHead', init_bias=-2.19, final_kernel={kernel}),
        transformer=dict(type='Cmt{sensor}Transformer', decoder=dict(
            type='PETRTransformerDecoder', return_intermediate=True, num_layers=6,
            transformerlayers=dict(
                type='PETRTransformerDecoderLayer',{with_cp}
                attn_cfgs=[dict(type='MultiheadAttention', embed_dims=256, num_heads=8, dropout=0.1),
                           dict(type='PETRMultiheadFlashAttention', embed_dims=256, num_heads=8, dropout=0.1)],
                ffn_cfgs=dict(type='FFN', embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.,
                              act_cfg=dict(type='ReLU', inplace=True)),
                feedforward_channels=1024,
                operation_order=('self_attn', 'norm', 'cross_attn', 'norm', 'ffn', 'norm')))),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2, alpha=0.25, reduction='mean', loss_weight=2.0),
        loss_bbox=dict(type='L1Loss', reduction='mean', loss_weight=0.25),
        loss_heatmap=dict(type='GaussianFocalLoss', reduction='mean', loss_weight=1.0)),
    train_cfg=dict(pts=dict(
        dataset='nuScenes',
        assigner=dict(type='HungarianAssigner3D', cls_cost=dict(type='FocalLossCost', weight=2.0),
                      reg_cost=dict(type='BBox3DL1Cost', weight=0.25), iou_cost=dict(type='IoUCost', weight=0.0),
                      pc_range=point_cloud_range, code_weights=_weights),
        pos_weight=-1, gaussian_overlap=0.1, min_radius=2, grid_size=[{cells}, {cells}, 40], voxel_size=voxel_size,
        out_size_factor=out_size_factor, code_weights=_weights, point_cloud_range=point_cloud_range)),
    test_cfg=dict(pts=dict(
        dataset='nuScenes', grid_size=[{cells}, {cells}, 40], out_size_factor=out_size_factor,
        pc_range=point_cloud_range[0:2], voxel_size=voxel_size[:2], nms_type=None, nms_thr=0.2, use_rotate_nms=True,
        max_num=200)))
"""

END = """
optimizer = dict(type='AdamW', lr={lr}, {groups}weight_decay=0.01)
optimizer_config = dict(type='CustomFp16OptimizerHook', {scale}grad_clip=dict(max_norm=35, norm_type=2){custom_fp16})
lr_config = dict(policy='cyclic', target_ratio=({peak}, 0.0001), cyclic_times=1, step_ratio_up=0.4)
momentum_config = dict(policy='cyclic', target_ratio=(0.8947368421052632, 1), cyclic_times=1, step_ratio_up=0.4)
total_epochs = 20
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
dist_params = dict(backend='nccl')
log_level = 'INFO'
work_dir = None
load_from = {load_from}
resume_from = None
workflow = [('train', 1)]
gpu_ids = range(0, 8)
"""
GROUPS = """paramwise_cfg=dict(custom_keys={
    'img_backbone': dict(lr_mult=0.01, decay_mult=5), 'img_neck': dict(lr_mult=0.1)}), """
CUSTOM_FP16 = ", custom_fp16=dict(pts_voxel_encoder=False, pts_middle_encoder=False, pts_bbox_head=False)"


@dataclass(frozen=True)
class FieldConfig:
    """The values in which the official configs differ, and text that a test puts in."""

    sensor: str = ""  # '', 'Lidar' or 'Image', as in the name of the head
    images: str = RESNET
    cells: int = 1024
    voxel_size: str = "[0.1, 0.1, 0.2]"
    resize: str = "(0.47, 0.625)"
    final: str = "(320, 800)"
    batch: int = 4
    lr: str = "0.00014"
    peak: int = 6
    load_from: str = "'ckpts/nuim_r50.pth'"
    scale: str = ""
    head: str = ""
    more: str = ""
    edits: tuple[tuple[str, str], ...] = field(default=())

    def text(self) -> str:
        """The program. Every edit must find what it replaces."""
        text = self._text()
        for old, new in self.edits:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def _text(self) -> str:
        lidar, camera = self.sensor != "Image", self.sensor != "Lidar"
        keys = [name for name, has in (("points", lidar), ("img", camera)) if has]
        train = [*([READ_POINTS] if lidar else []), *([READ_IMAGES] if camera else []), READ_BOXES]
        if lidar:
            train.append(PASTE_BOTH if camera else PASTE_POINTS)
            names = (
                ("GlobalRotScaleTransAll", "CustomRandomFlip3D") if camera else ("GlobalRotScaleTrans", "RandomFlip3D")
            )
            train += [MOVE.format(rotate=names[0], flip=names[1]), FILTER_POINTS]
        else:
            train.append(MOVE_CAMERAS)
        train += [FILTER_BOXES, *([SHUFFLE] if lidar else []), *([IMAGES.format(training=True)] if camera else [])]
        meta = ", meta_keys=('filename', 'lidar2img', 'pad_shape', 'gt_bboxes_3d')"
        train.append(COLLECT.format(label="", keys=[*keys, "gt_bboxes_3d", "gt_labels_3d"], meta=meta))
        read = [*([READ_POINTS] if lidar else []), *([READ_IMAGES] if camera else [])]
        inner = [*([STILL] if lidar else []), *([IMAGES.format(training=False)] if camera else [])]
        inner.append(COLLECT.format(label=", with_label=False", keys=keys, meta=""))
        test = [
            *read,
            "\n    dict(type='MultiScaleFlipAug3D', img_scale=(1333, 800), pts_scale_ratio=1, flip=False, transforms=[",
            *inner,
            "]),",
        ]
        parts = [
            START.format(voxel_size=self.voxel_size, camera=camera),
            START_IMAGES.format(resize=self.resize, final=self.final) if camera else "",
            f"train_pipeline = [{''.join(train)}]\ntest_pipeline = [{''.join(test)}]\n",
            DATA.format(batch=self.batch),
            MODEL.format(
                grid_mask="\n    use_grid_mask=True," if self.sensor == "" else "",
                branches=(self.images if camera else "") + (POINT_BRANCH.format(cells=self.cells) if lidar else ""),
                sensor=self.sensor,
                aqr=self.head,
                kernel=3 if self.sensor == "Lidar" else 1,
                with_cp="" if self.sensor == "Lidar" else " with_cp=False,",
                cells=self.cells,
            ),
            END.format(
                lr=self.lr,
                groups=GROUPS if camera else "",
                scale=self.scale,
                custom_fp16=CUSTOM_FP16 if lidar else "",
                peak=self.peak,
                load_from=self.load_from,
            ),
            self.more,
        ]
        return "".join(parts)


FINE = dict(cells=1440, voxel_size="[0.075, 0.075, 0.2]", batch=2, lr="0.0001", scale="loss_scale='dynamic', ")
LARGE = dict(
    images=VOVNET,
    resize="(0.94, 1.25)",
    final="(640, 1600)",
    peak=8,
    load_from="'ckpts/fcos3d_vovnet_imgbackbone-remapped.pth'",
)
OFFICIAL = {
    "cmt_voxel0100_r50_800x320_cbgs": FieldConfig(),
    "cmt_voxel0075_vov_1600x640_cbgs": FieldConfig(**FINE, **LARGE),
    "cmt_lidar_voxel0075_cbgs": FieldConfig(sensor="Lidar", load_from="None", **FINE),
    "cmt_camera_vov_1600x640_cbgs": FieldConfig(sensor="Image", **FINE, **LARGE),
}

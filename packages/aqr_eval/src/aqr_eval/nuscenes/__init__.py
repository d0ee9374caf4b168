"""The nuScenes dataset format: classes, splits, geometry and tables, with numpy alone."""

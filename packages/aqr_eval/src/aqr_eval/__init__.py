"""nuScenes detection evaluation without torch and without the devkit."""

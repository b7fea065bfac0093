"""TIFF files, with the types of samples that Pillow does not read."""

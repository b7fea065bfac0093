"""One file or folder for each image format; `iuscore.images.decode` tells them apart by their first bytes."""

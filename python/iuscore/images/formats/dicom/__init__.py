"""DICOM files, as a viewer first shows them."""

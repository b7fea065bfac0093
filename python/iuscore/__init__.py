"""iuscore: how useful a synthetic medical image is for training a classifier, and why."""

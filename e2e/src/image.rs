//! Skeleton of image.

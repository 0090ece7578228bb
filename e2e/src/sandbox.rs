//! Skeleton of sandbox.

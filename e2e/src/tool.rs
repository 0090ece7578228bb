//! Skeleton of tool.

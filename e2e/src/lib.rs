//! The real parts that Weir is tested on, and the programs that drive them.
//!
//! - [`tool`] installs every program that is missing, each pinned.
//! - [`sandbox`] is the network, mount and process namespace that everything runs in.
//! - [`cluster`] is a real Kubernetes, with a registry, inside the sandbox.
//! - [`clickhouse`] is the development server around the real ClickHouse engine.
//! - [`image`] builds the container images and pushes them.
//! - [`administrator`] is the account that the operator has in ClickHouse.
//! - [`target`] installs Weir, [`stage`] is all of it brought up, and [`scenario`] the stories told on it.
//! - [`standalone`] is the data path alone: ClickHouse and `weir-ingest` processes, without Kubernetes.
//! - [`mod@bench`] measures the data path, and another one beside it.
//! - [`verify`] runs every gate and test, and [`report`] counts them.

pub mod administrator;
pub mod audit;
pub mod bench;
pub mod clickhouse;
pub mod cluster;
pub mod demo;
pub mod image;
pub mod kstatus;
pub mod load;
pub mod query;
pub mod report;
pub mod sandbox;
pub mod scenario;
pub mod soak;
pub mod stack;
pub mod stage;
pub mod standalone;
pub mod target;
pub mod timeline;
pub mod tool;
pub mod verify;

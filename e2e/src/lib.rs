//! A real Kubernetes control plane and real replicas of the adapter, as processes on loopback, for the end-to-end suite.
//!
//! Reading order: [`programs`] says where everything comes from, [`control_plane`] starts etcd, kube-apiserver and
//! kube-controller-manager with keys of [`certificates`], [`kubelet`] stands in for the nodes that are not there,
//! [`adapter`] runs replicas behind [`balancer`], [`observer`] looks on, [`peer`] the Go adapter that they are compared with,
//! [`prometheus`] a backend, [`installation`] applies
//! `deploy/` as a person would, and [`kubectl`], [`consumers`], [`requests`], [`connection`], [`load`], [`traffic`], [`plugins`],
//! [`packaging`], [`storm`] and [`eventually`] are what the tests speak through; [`footprint`] is what a process holds.
//!
//! Never imports the adapter's crates: it sees what a user sees. Never leaves a process behind: each child asks the
//! kernel to be killed when its parent dies. Never listens on, or dials, anything but loopback.

pub mod adapter;
pub mod balancer;
pub mod certificates;
pub mod connection;
pub mod consumers;
pub mod control_plane;
pub mod eventually;
pub mod footprint;
pub mod installation;
pub mod kubectl;
pub mod kubelet;
pub mod load;
pub mod observer;
pub mod packaging;
pub mod peer;
pub mod plugins;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod requests;
pub mod storm;
pub mod traffic;

/// The namespace that `deploy/` installs the adapter in.
pub const ADAPTER_NAMESPACE: &str = "wasm-metrics-adapter";

/// The name of the adapter's Service, Deployment and ServiceAccount in `deploy/`.
pub const ADAPTER_NAME: &str = "wasm-metrics-adapter";

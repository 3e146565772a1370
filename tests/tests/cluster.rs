//! What a Redis Cluster does to those who use it: slots move from node to node under load, masters die
//! and their replicas take over. The contract suite runs on one as well.
//!
//! `CLUSTER_SEED` repeats a run as far as its random choices go.

mod cluster {
    mod failover;
    mod reshard;
    mod strangers;
    mod values;
}

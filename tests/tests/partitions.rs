//! Other numbers of partitions for a queue, while everything is in use.

mod partitions {
    mod changes;
    mod kills;
    mod losses;
}

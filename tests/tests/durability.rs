//! How safe a write is when it is acknowledged, and waiting until PostgreSQL has it.

mod durability {
    mod disk;
    mod receipts;
    mod replicas;
}

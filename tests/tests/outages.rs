//! What is not the rows' fault passes: servers fail in every way they know, drainers of different
//! ages run side by side, processes are told to end. Nothing is lost, nothing is done twice, and
//! nothing becomes a dead letter.

mod outages {
    mod course;
    mod storm;

    mod cancelled;
    mod deploy;
    mod failover;
    mod postgresql;
    mod redis;
    mod shutdown;
    mod units;
}

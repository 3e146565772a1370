//! Many commands in one round trip.

use redis::Cmd;
use serde::Serialize;

use super::strings::to_json;
use super::{
    At, EntryPosition, Error, Expiry, Family, FromRedisValue, Redis, ToRedisArgs, ToSingleRedisArg,
    milliseconds,
};

/// Commands that go to Redis in one round trip; made by [`Redis::pipeline`].
///
/// ```no_run
/// # use kv_runtime::redis::{Error, Expiry, Redis};
/// # async fn run(redis: Redis) -> Result<(), Error> {
/// let mut pipeline = redis.pipeline();
/// pipeline.set("a", 1, Expiry::Default).get("b").command("INCRBY", "visits", 10);
/// let ((), b, visits): ((), Option<String>, i64) = pipeline.run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Pipeline {
    redis: Redis,
    commands: redis::Pipeline,
    /// The key of the first command, for errors.
    first_key: String,
}

impl Redis {
    /// An empty pipeline.
    pub fn pipeline(&self) -> Pipeline {
        let (commands, first_key) = (redis::pipe(), String::new());
        Pipeline { redis: self.clone(), commands, first_key }
    }
}

impl Pipeline {
    /// Has the commands take effect as one (`MULTI`), or not at all where Redis refuses to queue
    /// one of them. In a cluster, their keys have to lie in one slot.
    pub fn atomic(&mut self) -> &mut Self {
        self.commands.atomic();
        self
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl ToSingleRedisArg, expiry: Expiry) -> &mut Self {
        let options = self.redis.set_options(expiry);
        let prefixed = self.key(key);
        self.add(Cmd::set_options(prefixed, value, options))
    }

    /// Sets a key to a value's JSON.
    ///
    /// # Errors
    /// [`Error::Encoding`].
    pub fn set_json<T: Serialize + ?Sized>(
        &mut self,
        key: &str,
        value: &T,
        expiry: Expiry,
    ) -> Result<&mut Self, Error> {
        let json = to_json(At::new(Family::Pipeline, "set_json", key), value)?;
        Ok(self.set(key, json, expiry))
    }

    /// Gets a key: an `Option`, where it may be absent.
    pub fn get(&mut self, key: &str) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::get(prefixed))
    }

    /// Deletes a key: how many there were.
    pub fn delete(&mut self, key: &str) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::del(prefixed))
    }

    /// Sets a field of a hash, and leaves the time that the hash has: how many fields are new.
    pub fn hset(&mut self, key: &str, field: &str, value: impl ToSingleRedisArg) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::hset(prefixed, field, value))
    }

    /// Gets all fields of a hash.
    pub fn hgetall(&mut self, key: &str) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::hgetall(prefixed))
    }

    /// Appends values to a list: how long it is then.
    pub fn rpush<V: ToRedisArgs>(&mut self, key: &str, values: &[V]) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::rpush(prefixed, values))
    }

    /// Adds members to a set: how many are new.
    pub fn sadd<V: ToRedisArgs>(&mut self, key: &str, members: &[V]) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::sadd(prefixed, members))
    }

    /// Appends an entry to a stream: its id.
    pub fn xadd<F: ToRedisArgs, V: ToRedisArgs>(
        &mut self,
        stream: &str,
        position: EntryPosition,
        fields: &[(F, V)],
    ) -> &mut Self {
        let prefixed = self.key(stream);
        self.add(Cmd::xadd(prefixed, position, fields))
    }

    /// Has a key live for this long from now on: whether there is one.
    pub fn expire(&mut self, key: &str, ttl: std::time::Duration) -> &mut Self {
        let prefixed = self.key(key);
        self.add(Cmd::pexpire(prefixed, milliseconds(ttl)))
    }

    /// Any command of which the first argument, and no other one, is a key. Without other arguments
    /// these are `None::<&str>`.
    pub fn command(&mut self, name: &str, key: &str, arguments: impl ToRedisArgs) -> &mut Self {
        let mut command = redis::cmd(name);
        command.arg(self.key(key)).arg(arguments);
        self.add(command)
    }

    /// Sends the commands, and answers their results in order: a tuple, or a list where they are of
    /// one type. Without any command nothing is sent.
    ///
    /// # Errors
    /// [`Error::Pipeline`]; [`Error::Parsing`] where the results are no `T`; or what any call can
    /// fail with.
    pub async fn run<T: FromRedisValue>(&self) -> Result<T, Error> {
        let at = At::new(Family::Pipeline, "pipeline", &self.first_key);
        self.redis.query_all(at, &self.commands).await
    }

    fn key(&mut self, key: &str) -> String {
        if self.commands.is_empty() {
            self.first_key = key.to_owned();
        }
        self.redis.key(key)
    }

    fn add(&mut self, command: Cmd) -> &mut Self {
        self.commands.add_command(command);
        self
    }
}

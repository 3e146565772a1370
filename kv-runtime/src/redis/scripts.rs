//! Lua scripts.

use redis::Script;

use super::{At, Error, Family, FromRedisValue, Redis, ToRedisArgs};

/// # Scripts
impl Redis {
    /// Runs a script with keys, each of which gets the prefix, and arguments, which do not; without
    /// any, these are `None::<&str>`. It is sent in full only to a server that does not know it
    /// yet.
    ///
    /// ```no_run
    /// # use kv_runtime::redis::{Error, Redis, Script};
    /// # async fn run(redis: Redis) -> Result<(), Error> {
    /// let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// let count: i64 = redis.eval(&script, &["visits"], &[10]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Script`]; [`Error::Parsing`] where its result is no `T`; or what any call can fail
    /// with.
    pub async fn eval<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: impl ToRedisArgs,
    ) -> Result<T, Error> {
        let at = At::new(Family::Script, "eval", keys.first().unwrap_or(&""));
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(self.key(key));
        }
        call.arg(arguments);
        self.invoke(at, &call).await
    }
}

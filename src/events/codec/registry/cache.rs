//! What is known already. Finding it takes no lock: a chain of entries that only grows. What is not known is fetched once for all who wait;
//! a failure that may pass is forgotten at once, any other after a while.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::RegistryError;
use super::chain::Chain;
use crate::kafka::runtime::Mutex;

/// How many chains there are.
const CHAINS: usize = 64;
/// How many entries are kept for good. The rest is kept as long as there is room.
const MOST_FOR_GOOD: usize = 4_096;
/// How many entries beyond these, refusals among them, are kept.
const MOST_MORE: usize = 4_096;

/// Values by their keys.
pub(super) struct Cache<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    chains: [Chain<(K, V)>; CHAINS],
    rest: Mutex<Rest<K, V>>,
    refusal_ttl: Duration,
}

struct Rest<K, V> {
    for_good: usize,
    more: HashMap<K, More<V>>,
}

enum More<V> {
    /// Being fetched: what comes of it.
    Awaited(watch::Receiver<Option<Result<V, RegistryError>>>),
    Refused(Instant, RegistryError),
    Found(V),
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> Cache<K, V>
where
    K: Sync,
{
    pub fn new(refusal_ttl: Duration) -> Self {
        Self(Arc::new(Inner {
            chains: [const { Chain::new() }; CHAINS],
            rest: Mutex::new(Rest {
                for_good: 0,
                more: HashMap::new(),
            }),
            refusal_ttl,
        }))
    }

    /// The value of the key of this hash that `is_it`, where it is known.
    pub fn get(&self, hash: u64, is_it: impl Fn(&K) -> bool) -> Option<&V> {
        let mut known = self.0.chains[hash as usize % CHAINS].iter();
        known.find_map(|(key, value)| is_it(key).then_some(value))
    }

    /// The value of `key`, fetched when it is not known. The fetching goes on when the future is dropped, for the others.
    pub async fn get_or_fetch<F>(
        &self,
        hash: u64,
        key: K,
        fetch: impl FnOnce() -> F,
    ) -> Result<V, RegistryError>
    where
        F: Future<Output = Result<V, RegistryError>> + Send + 'static,
    {
        let mut awaited = {
            let mut rest = self.0.rest.lock();
            if let Some(value) = self.get(hash, |it| *it == key) {
                return Ok(value.clone());
            }
            match rest.more.get(&key) {
                Some(More::Awaited(awaited)) if awaited.has_changed().is_ok() => awaited.clone(),
                Some(More::Found(value)) => return Ok(value.clone()),
                Some(More::Refused(until, error)) if Instant::now() < *until => {
                    return Err(error.clone());
                }
                _ => {
                    let (found, awaited) = watch::channel(None);
                    rest.make_room();
                    rest.more
                        .insert(key.clone(), More::Awaited(awaited.clone()));
                    let (inner, fetched) = (self.0.clone(), fetch());
                    tokio::spawn(async move {
                        let result = fetched.await;
                        inner.learn(hash, key, result.clone());
                        found.send_replace(Some(result));
                    });
                    awaited
                }
            }
        };
        match awaited.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(ended())),
            Err(_) => Err(ended()),
        }
    }
}

fn ended() -> RegistryError {
    RegistryError::unavailable("the runtime that asked the registry has ended")
}

impl<K: Clone + Eq + Hash, V: Clone> Inner<K, V> {
    fn learn(&self, hash: u64, key: K, result: Result<V, RegistryError>) {
        let mut rest = self.rest.lock();
        rest.more.remove(&key);
        match result {
            Ok(value) if rest.for_good < MOST_FOR_GOOD => {
                rest.for_good += 1;
                let chain = &self.chains[hash as usize % CHAINS];
                chain.find_or_add(|(known, _)| *known == key, || (key.clone(), value.clone()));
            }
            Ok(value) => {
                rest.more.insert(key, More::Found(value));
            }
            Err(error) if error.may_pass() => {}
            Err(error) => {
                rest.more
                    .insert(key, More::Refused(Instant::now() + self.refusal_ttl, error));
            }
        }
    }
}

impl<K: Eq + Hash, V> Rest<K, V> {
    /// Whoever sends ids that are no schema's must not fill the memory.
    fn make_room(&mut self) {
        if self.more.len() >= MOST_MORE {
            let now = Instant::now();
            self.more.retain(|_, it| match it {
                More::Refused(until, _) => now < *until,
                _ => true,
            });
        }
        if self.more.len() >= MOST_MORE {
            self.more.retain(|_, it| matches!(it, More::Awaited(_)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn cache() -> Cache<u32, u32> {
        Cache::new(Duration::from_secs(60))
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_serves_all_who_wait_and_its_value_is_found_without_another() {
        let (cache, requests) = (Arc::new(cache()), Arc::new(AtomicUsize::new(0)));
        let waiting = (0..1_000).map(|_| {
            let (cache, requests) = (cache.clone(), requests.clone());
            tokio::spawn(async move {
                let fetch = || async move {
                    requests.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(7)
                };
                cache.get_or_fetch(1, 1, fetch).await
            })
        });
        for waiting in waiting.collect::<Vec<_>>() {
            assert_eq!(waiting.await.expect("no panic"), Ok(7));
        }
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        assert_eq!(cache.get(1, |key| *key == 1), Some(&7));
        assert_eq!(cache.get(1, |key| *key == 65), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_asked_again_and_a_refusal_counts_for_a_while() {
        let cache = cache();
        let unavailable = || RegistryError::unavailable("down");
        let failed = cache
            .get_or_fetch(1, 1, || async move { Err(unavailable()) })
            .await;
        assert_eq!(failed, Err(unavailable()));
        assert_eq!(cache.get_or_fetch(1, 1, || async { Ok(1) }).await, Ok(1));
        let refused = || RegistryError::refused("no".into(), 404, None);
        let failed = cache
            .get_or_fetch(2, 2, || async move { Err(refused()) })
            .await;
        assert_eq!(failed, Err(refused()));
        assert_eq!(
            cache.get_or_fetch(2, 2, || async { Ok(2) }).await,
            Err(refused())
        );
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(cache.get_or_fetch(2, 2, || async { Ok(2) }).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_does_not_take_the_value_from_the_others() {
        let cache = cache();
        let fetch = || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(3)
        };
        let given_up =
            tokio::time::timeout(Duration::from_secs(1), cache.get_or_fetch(3, 3, fetch)).await;
        assert!(given_up.is_err());
        let waited = cache
            .get_or_fetch(3, 3, || async { unreachable!("fetched already") })
            .await;
        assert_eq!(waited, Ok::<u32, _>(3));
    }

    #[tokio::test]
    async fn ids_that_are_no_schemas_do_not_fill_the_memory() {
        let cache = cache();
        for id in 0..3 * MOST_MORE as u32 {
            let refused = RegistryError::refused("no".into(), 404, None);
            let _ = cache
                .get_or_fetch(u64::from(id), id, || async move { Err(refused) })
                .await;
        }
        assert!(cache.0.rest.lock().more.len() <= MOST_MORE + 1);
    }
}

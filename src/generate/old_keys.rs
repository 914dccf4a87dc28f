//! The keys that release 0.1.0 gave to a generation's rows. Frozen: they find what that release
//! stored, so that it gets today's keys. The texts are those that Rust's `Debug` wrote at that time.

use crate::base::hash;
use crate::instruction::cluster::ClusterConfig;
use crate::llm::{ChatRequest, old_keys::sampling};

/// Of a call and its reply; `schema` is empty where none was wanted.
pub fn call(role: &str, model: &str, schema: &str, request: &ChatRequest) -> String {
    let (settings, seed) = (sampling(&request.settings), request.seed.to_string());
    let mut parts = vec![role, model, &settings, schema, &seed];
    parts.extend(request.messages.iter().map(|message| message.text.as_str()));
    hash::key(&parts)
}

/// Of a clustering; `points` are the places and keys of the instructions.
pub fn clusters<'a>(
    config: &ClusterConfig,
    seed: u64,
    embedder: &str,
    points: impl Iterator<Item = (usize, &'a str)>,
) -> String {
    let ClusterConfig { k, k_min, k_max, restarts, max_iterations, tolerance, .. } = config;
    let ClusterConfig { silhouette_sample, choose_sample, .. } = config;
    let text = format!(
        "ClusterConfig {{ k: {k:?}, k_min: {k_min:?}, k_max: {k_max:?}, restarts: {restarts}, \
         max_iterations: {max_iterations}, tolerance: {tolerance:?}, \
         silhouette_sample: {silhouette_sample}, choose_sample: {choose_sample}, threads: 0 }}"
    );
    let points = points.map(|(place, key)| format!("{place} {key}"));
    let parts: Vec<String> =
        [text, seed.to_string(), embedder.to_owned()].into_iter().chain(points).collect();
    hash::key(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tests/golden/made-by-0.1.0/library/instructions.sqlite, which that release wrote.
    #[test]
    fn a_clustering_s_key_is_that_in_a_generation_of_that_release() {
        let config = ClusterConfig { k: Some(3), ..ClusterConfig::default() };
        let points = [
            (0, "cc038adaaace7769f03608704ef76fef"),
            (2, "cff34161fa90b9103d7de1fb8808afd3"),
            (4, "720eaec254ff11e138aac5598747abd9"),
            (5, "77af624c5d723944f171c1ac980376e2"),
            (8, "b92b49200fe0067545521df8582e1a15"),
        ];
        let key = clusters(&config, 7, "ef2e8bb47a9a402d15557e7841c64c7c", points.into_iter());
        assert_eq!(key, "288a5676978f46bae4c670145f3eda33");
    }
}

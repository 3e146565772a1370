//! The compose file keeps to the limits of the contest.

use std::fs;
use std::path::Path;

/// The values of a key, wherever it stands.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    values.map(|value| value.trim_matches('"')).collect()
}

#[test]
fn the_limits_of_all_services_come_to_what_is_allowed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose.yaml");
    let text = fs::read_to_string(file).expect("the compose file");
    let services: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "services:")
        .skip(1)
        .take_while(|line| line.starts_with(' ') || line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '))
        .collect();
    assert_eq!(services, ["service1", "service2", "balancer", "redis", "postgres"]);
    let hundredths: Vec<u32> = values(&text, "cpus")
        .iter()
        .map(|cpus| cpus.strip_prefix("0.").expect("a part of a core").parse().expect("a number"))
        .collect();
    let megabytes: Vec<u32> = values(&text, "memory")
        .iter()
        .map(|memory| memory.strip_suffix("MB").expect("in MB").parse().expect("a number"))
        .collect();
    assert_eq!((hundredths.len(), megabytes.len()), (5, 5), "each service has both limits");
    assert!(hundredths.iter().sum::<u32>() <= 150, "{hundredths:?} hundredths of a core");
    assert!(megabytes.iter().sum::<u32>() <= 350, "{megabytes:?} MB");
    assert!(text.contains(r#"- "9999:9999""#), "the balancer is where the contest looks for it");
    assert!(text.contains("driver: bridge"));
    for forbidden in ["network_mode", "privileged", "replicas"] {
        assert!(!text.contains(forbidden), "the contest forbids `{forbidden}`");
    }
}

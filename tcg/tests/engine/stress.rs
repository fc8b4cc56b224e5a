//! The stress switch itself: that it reaches what it is for, and that the seed decides everything. What guests see under
//! it is tested with every tier's other tests. `TCG_STRESS` sets how many seeds are tried.

use crate::random::number;
use crate::regions::random_programs;
use crate::toy::Tier;
use std::collections::BTreeMap;
use vm::vcpu::Vcpu;

fn counters(tier: Tier) -> BTreeMap<&'static str, u64> {
    let pair = random_programs(tier, 1..40);
    let all = pair.tested.vcpu.counters().into_iter();
    // Time is the host's.
    all.filter(|(name, _)| !name.contains("microseconds")).collect()
}

#[test]
fn all_follows_from_the_seed() {
    let once = counters(Tier::Stress(11));
    assert_eq!(once, counters(Tier::Stress(11)));
    assert_ne!(once, counters(Tier::Stress(12)));
}

#[test]
fn every_tier_takes_part_and_code_goes() {
    let (stress, calm) = (counters(Tier::Stress(13)), counters(Tier::Mixed(3)));
    for name in ["interpreted blocks", "templates: blocks", "regions", "exits: block is hot", "exits: budget or kick"] {
        assert!(stress[name] > 100, "{} {name}", stress[name]);
    }
    assert!(stress["templates: traces among them"] > 10, "{stress:#?}");
    // The programs are the same, and so is what is executed; but blocks come again and again.
    assert_eq!(stress["instructions executed"], calm["instructions executed"]);
    assert!(stress["instructions translated"] > calm["instructions translated"], "{stress:#?} {calm:#?}");
    assert!(stress["exits: budget or kick"] > calm["exits: budget or kick"], "{stress:#?} {calm:#?}");
    assert!(stress["page walks"] > calm["page walks"], "{stress:#?} {calm:#?}");
}

#[test]
fn many_seeds() {
    for seed in 100..100 + number("TCG_STRESS", 12) {
        for tier in [Tier::Stress(seed), Tier::StressBackground(seed), Tier::SmallStress(seed)] {
            random_programs(tier, seed..seed + 20);
        }
    }
}

//! How what descriptions say supports that a thing is there, by the net of nouns.

use strum::IntoStaticStr;

use crate::base::nouns::{Nouns, Sense, mentions};

/// The things that descriptions name.
pub(super) struct Described {
    things: Vec<Thing>,
}

struct Thing {
    noun: String,
    senses: Vec<Meaning>,
}

struct Meaning {
    sense: Sense,
    /// This sense and all that are more general, in rising order.
    kinds: Vec<Sense>,
    parts: Vec<Sense>,
}

/// How a noun stands to one of a description, the weakest support first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Relation {
    #[strum(serialize = "none")]
    Apart,
    /// A part of it, or a whole that it is part of: the wheel of a bicycle.
    Part,
    /// A special case of it: a gull where a bird is described.
    Special,
    /// The same thing, or a more general word for it.
    Same,
}

impl Relation {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The described thing that comes nearest.
pub(super) struct Nearest<'a> {
    pub relation: Relation,
    /// Share of the kinds that both have, in [0, 1] (Wu and Palmer).
    pub nearness: f64,
    /// Empty where nothing is described.
    pub noun: &'a str,
}

impl Described {
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut things: Vec<Thing> = Vec::new();
        for mention in texts.flat_map(mentions) {
            if things.iter().all(|thing| thing.noun != mention.noun) {
                things.push(Thing::of(&mention.noun));
            }
        }
        Self { things }
    }

    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    /// The described thing that supports a noun best; the first of equals.
    pub fn nearest(&self, noun: &str) -> Nearest<'_> {
        let asked = Thing::of(noun);
        let mut best = Nearest { relation: Relation::Apart, nearness: 0.0, noun: "" };
        for thing in &self.things {
            let (relation, nearness) = thing.supports(&asked);
            if (relation, nearness) > (best.relation, best.nearness) {
                best = Nearest { relation, nearness, noun: &thing.noun };
            }
        }
        best
    }
}

impl Thing {
    fn of(noun: &str) -> Self {
        let nouns = Nouns::english();
        let meaning = |sense: &Sense| Meaning {
            sense: *sense,
            kinds: nouns.kinds(*sense),
            parts: nouns.parts(*sense),
        };
        Self { noun: noun.to_owned(), senses: nouns.usual(noun).iter().map(meaning).collect() }
    }

    fn supports(&self, asked: &Self) -> (Relation, f64) {
        // "Clock" after "alarm clock", and the other way round; or a word whose second meaning is the
        // same, as that of "bike" is a bicycle. Rarer ones are no help: a wheel can be a bicycle, too.
        let common = |noun: &str| Nouns::english().senses(noun).iter().take(2);
        let means = |sense| common(&asked.noun).any(|one| one == sense);
        if head(&self.noun) == head(&asked.noun) || common(&self.noun).any(means) {
            return (Relation::Same, 1.0);
        }
        let pairs = self.senses.iter().flat_map(|own| asked.senses.iter().map(move |it| (own, it)));
        let pairs = pairs.map(|(own, it)| own.supports(it));
        pairs
            .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
            .unwrap_or((Relation::Apart, 0.0))
    }
}

impl Meaning {
    fn supports(&self, asked: &Self) -> (Relation, f64) {
        let shared = self.kinds.iter().filter(|kind| asked.is(**kind)).count();
        let nearness = 2.0 * shared as f64 / (self.kinds.len() + asked.kinds.len()) as f64;
        let relation = if self.is(asked.sense) {
            Relation::Same
        } else if asked.is(self.sense) {
            Relation::Special
        } else if self.parts.contains(&asked.sense) || asked.parts.contains(&self.sense) {
            Relation::Part
        } else {
            Relation::Apart
        };
        (relation, nearness)
    }

    fn is(&self, kind: Sense) -> bool {
        self.kinds.binary_search(&kind).is_ok()
    }
}

/// The last word of a name.
fn head(noun: &str) -> &str {
    noun.rsplit('_').next().unwrap_or(noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_same_support_and_others_do_not() {
        let described =
            Described::of(["A collie beside a bicycle.", "A bird on a sofa."].into_iter());
        for (noun, relation, by) in [
            ("dog", Relation::Same, "collie"),
            ("couch", Relation::Same, "sofa"),
            ("bicycle", Relation::Same, "bicycle"),
            ("bike", Relation::Same, "bicycle"),
            ("gull", Relation::Special, "bird"),
            ("wheel", Relation::Part, "bicycle"),
            ("clock", Relation::Apart, "bicycle"),
        ] {
            let nearest = described.nearest(noun);
            assert_eq!(nearest.relation, relation, "{noun}");
            if relation != Relation::Apart {
                assert_eq!(nearest.noun, by, "{noun}");
            }
        }
        let nothing = Described::of([""].into_iter());
        assert!(nothing.is_empty() && nothing.nearest("dog").relation == Relation::Apart);
    }
}

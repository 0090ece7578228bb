//! Plans of a rotation with a step in another place, played in the world as far as `order` lets them through: wherever the
//! operator dies, nobody is locked out. So a rule that is missing shows here, whoever wrote down which pairs matter.

use super::swapped::rotating;
use super::*;

/// What of a plan is out of its place.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Two steps are swapped.
    Swap(usize, usize),
    /// A step comes before another one already.
    Move(usize, usize),
}

impl Change {
    /// Every change of a plan of so many steps.
    fn of(steps: usize) -> impl Iterator<Item = Self> {
        let pairs = (0..steps).flat_map(move |first| (first + 1..steps).map(move |second| (first, second)));
        pairs.flat_map(|(first, second)| [Self::Swap(first, second), Self::Move(first, second)])
    }

    /// Puts steps where they do not belong.
    fn apply(self, plan: &mut Plan) {
        match self {
            Self::Swap(first, second) => plan.steps.swap(first, second),
            Self::Move(first, second) => plan.steps[first..=second].rotate_right(1),
        }
    }

    /// Puts the steps back.
    fn undo(self, plan: &mut Plan) {
        match self {
            Self::Swap(first, second) => plan.steps.swap(first, second),
            Self::Move(first, second) => plan.steps[first..=second].rotate_left(1),
        }
    }
}

/// Plays a plan that `order` has nothing against, and lets the operator die after each of its steps.
fn play(mut world: World, plan: Plan) {
    world.look();
    let desired = desired_of(&world.stack, &world.observed);
    for step in plan.steps {
        match step {
            Step::Hold(hold) if hold.blocks => return,
            Step::Hold(_) => {}
            Step::Do(_, action) => {
                world.act(&desired, action);
                world.check();
                resume(world.clone());
            }
        }
    }
}

/// Passes of the next operator, after which whatever was replaced has an end.
fn resume(mut world: World) {
    world.happen(&Event::Restart);
    world.pass(usize::MAX);
    world.pass(usize::MAX);
    let published =
        ["store-ingest-clickhouse", "store-user-grafana"].map(|name| world.secret(name, "username"));
    let Ok(catalogue) = &world.observed.catalogue else { unreachable!("the model answers") };
    let replaced = catalogue.users.keys().filter(|user| user.ends_with("_g1") && !published.contains(user));
    for user in replaced {
        assert!(world.ends.contains_key(user), "{user} is replaced and never ends");
    }
}

#[test]
fn no_step_out_of_its_place_that_passes_locks_anybody_out_wherever_the_operator_dies() {
    let mut world = rotating();
    let (mut changed, mut passed) = (0, 0);
    for _ in 0..3 {
        let mut plan = world.planned();
        for change in Change::of(plan.steps.len()) {
            change.apply(&mut plan);
            changed += 1;
            if order::check(&plan).is_ok() {
                passed += 1;
                let mut played = world.planned();
                change.apply(&mut played);
                play(world.clone(), played);
            }
            change.undo(&mut plan);
        }
        world.passes(1);
        world.happen(&Event::Wait(60));
    }
    println!("{passed} of {changed} plans with a step in another place pass, and harm nobody");
    assert!(passed > 30 && changed > 300, "{passed} of {changed}");
}

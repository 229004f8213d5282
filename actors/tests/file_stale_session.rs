//! An attempt of a session that a newer one has replaced is refused by the ledger: it leaves nothing
//! in the file, and the handler is not shown as failing (R5, R7).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::{House, SPOOL, ask, fence};
use metrics_exporter_prometheus::PrometheusBuilder;
use paquebot_actors::attempt::{Ended, Outcome};
use paquebot_store::Fence;

#[test]
fn an_attempt_that_comes_too_late_leaves_nothing_and_is_no_fault_of_the_handler() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut house = House::new(2, 4, None);
    actix_rt::System::new().block_on(async {
        let (store, alive) = metrics::with_local_recorder(&recorder, || house.start());
        let alive = alive.unwrap();
        alive.hand_over(1, 0, 2);
        assert!(matches!(alive.outcome().await.ended, Ended::Settled { .. }));
        let newer = Fence { spool: SPOOL, opened: fence().opened + 1, nonce: 9 };
        ask(|reply| store.admit(newer, None, "till-1".parse().unwrap(), reply)).unwrap();
        alive.hand_over(1, 2, 1);
        alive.hand_over(2, 0, 1);
        for _ in 0..2 {
            let Outcome { ended, .. } = alive.outcome().await;
            assert!(matches!(ended, Ended::Failed { .. }), "{ended:?}");
        }
        house.stop(alive).await;
        store.close().unwrap();
    });
    assert_eq!(house.written()[&1], [1, 2]);
    assert_eq!(house.written().get(&2), None);
    let shown = recorder.handle().render();
    let state = |state| format!("paquebot_handler_state{{handler=\"orders\",state=\"{state}\"}}");
    assert!(shown.contains(&format!("{} 1", state("ok"))), "{shown}");
    assert!(shown.contains(&format!("{} 0", state("failing"))), "{shown}");
}

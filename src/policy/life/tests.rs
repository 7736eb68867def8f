use super::*;

#[test]
fn lives_of_one_job_have_names_of_their_own() {
    let mut life = Life { text: "12_3".into(), restart: 0, ..Life::default() };
    life.slurm.restarts = 1;
    assert_eq!(life.file_id(), "12_3-restart0", "another life followed");
    life.restart = 1;
    assert_eq!(life.file_id(), "12_3");
}

#[test]
fn a_step_without_both_times_has_no_length() {
    let phases = Phases {
        submit_ms: Some(1_000),
        launch_ms: Some(3_000),
        started_ms: Some(9_500),
        ended_ms: Some(9_000),
        ..Phases::default()
    };
    let d = phases.durations();
    assert_eq!((d.provisioning, d.hold, d.run), (Some(6_500), None, None), "no time runs backwards");
    assert_eq!(phases.list().iter().filter(|(_, t)| t.is_some()).count(), 4);
}

#[test]
fn a_row_of_before_a_field_was_there_is_read() {
    let old = r#"{"job":12,"text":"12","slurm":{"state":"COMPLETED","start":100,"end":160}}"#;
    let life: Life = serde_json::from_str(old).expect("reads");
    assert_eq!((life.run_s(), life.succeeded(), life.cost.total), (Some(60), true, None));
    let again: Life = serde_json::from_str(&serde_json::to_string(&life).expect("writes")).expect("reads");
    assert_eq!(again, life);
}

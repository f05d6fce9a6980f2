"""A collection of two members goes the whole way: one set of networks, a cache, a step and figures of each."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ups_engine.data.collection import Collection
from ups_engine.data.prepare import prepare_data
from ups_engine.errors import SettingsError
from ups_engine.pipeline.reopen import cache_context, open_context
from ups_engine.pipeline.run import Outcome, run_pipeline, start_run


def collected(settings):
    """Burgers at two viscosities, with steps of 0.04 and 0.1, under the names of members."""
    thin = prepare_data(settings()).members[0]
    thick = prepare_data(settings("data.generate.parameters.nu=0.1", "data.generate.t_end=0.5")).members[0]
    return Collection([thin, replace(thick, name="thick")])


def test_two_members_train_and_are_evaluated_apart_and_together(settings):
    run = start_run(settings(), origins={}, argv=["test"])
    collection = collected(settings)
    run.write_data_record(collection.record())
    assert run_pipeline(run) is Outcome.FINISHED

    context = open_context(run)
    assert [member.name for member in context.collection.members] == ["burgers1d", "thick"]
    thin, thick = context.collection.members
    assert (thin.dt, thick.dt) == pytest.approx((0.04, 0.1))
    assert thin.physical_parameters(thin.splits.test).tolist() == [[0.01]]
    assert thick.physical_parameters(thick.splits.test).tolist() == [[0.1]]
    assert not np.array_equal(thin.normalisation.std, thick.normalisation.std)

    targets = cache_context(context.settings, str(run.path)).targets
    assert [(target.member, target.split) for target in targets] == [
        (name, split) for name in ("burgers1d", "thick") for split in ("train", "val", "test")
    ]
    assert len({target.path for target in targets}) == 6 and all(target.path.is_dir() for target in targets)

    report = json.loads((run.reports / "evaluation.json").read_text())
    assert report["members"].keys() == {"burgers1d", "thick"}
    for name, variant in report["variants"].items():
        own = [member["variants"][name]["rollout"] for member in report["members"].values()]
        assert variant["rollout"]["nrmse"] == pytest.approx(np.mean([one["nrmse"] for one in own]))
        assert variant["rollout"]["fields"] == {} and all(one["fields"]["u"]["crmse"] is not None for one in own)
    assert {path.name for path in run.reports.glob("fields*")} == {"fields-burgers1d.npz", "fields-thick.npz"}


def test_members_that_do_not_go_with_each_other_are_refused_by_what_differs(settings):
    burgers, advection = (
        prepare_data(settings(f"data.task={task}")).members[0] for task in ("burgers1d", "advection1d")
    )
    run = start_run(settings(), origins={}, argv=["test"])
    run.write_data_record(Collection([burgers, advection]).record())
    with pytest.raises(SettingsError, match="advection1d does not go with burgers1d: PDE parameters"):
        run_pipeline(run)


def test_names_of_members_are_unique(settings):
    member = prepare_data(settings()).members[0]
    with pytest.raises(ValueError, match="no name twice"):
        Collection([member, member])

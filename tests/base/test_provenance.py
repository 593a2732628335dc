"""What is found when a model was not made from the current inputs."""

from autoencoder.base.provenance import differences

LINEAGE = {"parameters": {"z_size": 16, "seed": 0}, "train_md5": "a", "code": {"step.py": "1"}}
CURRENT = ({"z_size": 16, "seed": 0, "mirror": None}, "a", {"step.py": "1", "plots.py": "2"})


def test_the_current_inputs_differ_in_nothing() -> None:
    assert differences(LINEAGE, *CURRENT) == []


def test_the_environment_is_compared_if_it_is_given() -> None:
    trained = LINEAGE | {"device": "cpu"}
    assert differences(trained, *CURRENT) == []
    assert differences(trained, *CURRENT, device="cuda") == ["device was cpu, is cuda"]


def test_each_difference_is_named() -> None:
    assert differences(LINEAGE, {"z_size": 32}, "b", {}) == [
        "z_size was 16, is 32",
        "seed was 0, is None",
        "the training table was different",
        "step.py was different",
    ]


def test_a_model_that_says_nothing_was_made_from_something_else() -> None:
    assert differences({}, *CURRENT) == ["the training table was different"]

from alpw.sampling.order import by_information

MEASURES = ("max_force_deviation", "mean_kpu")


def test_the_most_uncertain_frame_goes_first_and_one_without_uncertainty_last():
    found = [{}, {"max_force_deviation": 0.1, "mean_force_deviation": 9.0}, {"max_force_deviation": 0.3}]
    assert by_information(found, MEASURES) == [2, 1, 0]


def test_measures_of_other_scales_count_by_rank_and_equals_keep_their_order():
    found = [
        {"max_force_deviation": 0.3, "mean_kpu": 1.0},
        {"max_force_deviation": 0.1, "mean_kpu": 3.0},
        {"max_force_deviation": 0.2, "mean_kpu": 900.0},
    ]
    assert by_information(found, MEASURES) == [2, 0, 1]
    assert by_information([{}, {}], MEASURES) == [0, 1]

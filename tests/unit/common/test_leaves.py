from wetakd.common.leaves import leaves, texts_in


def test_leaves_have_dotted_paths_and_an_empty_mapping_has_none() -> None:
    tree = {"recipe": {"epochs": 3, "milestones": [0.5]}, "options": {}, "seed": 1}
    assert leaves(tree) == {"recipe.epochs": 3, "recipe.milestones": [0.5], "seed": 1}
    assert leaves({}) == {}


def test_texts_are_found_in_lists_of_values_and_of_mappings() -> None:
    assert texts_in(["a", 1, [{"x": "b", "y": ["c"]}]]) == ["a", "b", "c"]
    assert texts_in("a") == ["a"]
    assert texts_in(3) == []

"""The pool of earlier fakes: what it keeps, what it shows, and that it can be resumed."""

import torch

from vsuda_cli.training.image_pool import ImagePool


def shown_by(pool: ImagePool, fakes: torch.Tensor) -> torch.Tensor:
    return pool.exchange(fakes, pool.decide(len(fakes)))


def numbered(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).float().view(-1, 1, 1, 1)


def test_without_a_pool_fakes_pass_through() -> None:
    fakes = numbered(0, 3)
    assert shown_by(ImagePool(0, seed=0), fakes) is fakes


def test_a_filling_pool_shows_the_new_ones() -> None:
    pool = ImagePool(4, seed=0)
    assert torch.equal(shown_by(pool, numbered(0, 4)), numbered(0, 4))


def test_a_full_pool_exchanges_half_of_the_new_ones_for_old_ones() -> None:
    pool = ImagePool(50, seed=0)
    shown_by(pool, numbered(0, 50))
    shown = torch.cat([shown_by(pool, numbered(50 + i, 1)) for i in range(1000)]).flatten()
    fresh = (shown == torch.arange(50, 1050)).float().mean()
    assert 0.44 < fresh < 0.56
    # Nothing is shown twice: what is handed out has left the pool, or never entered it.
    assert len(shown.unique()) == len(shown)


def test_fakes_of_16_bit_meet_those_of_32() -> None:
    pool, again = ImagePool(2, seed=0), ImagePool(2, seed=0)
    shown_by(pool, numbered(0, 2).bfloat16())
    again.load_state_dict(pool.state_dict(), torch.device("cpu"))
    shown = torch.cat([shown_by(again, numbered(2 + n, 1)) for n in range(20)])
    assert shown.dtype == torch.float32
    assert {0.0, 1.0} < set(shown.flatten().tolist())


def test_it_continues_where_it_was_saved() -> None:
    pool, again = ImagePool(5, seed=0), ImagePool(5, seed=9)
    shown_by(pool, numbered(0, 8))
    again.load_state_dict(pool.state_dict(), torch.device("cpu"))
    assert torch.equal(shown_by(pool, numbered(8, 20)), shown_by(again, numbered(8, 20)))


def test_what_is_kept_has_no_gradient() -> None:
    pool = ImagePool(2, seed=0)
    fakes = numbered(0, 2).requires_grad_()
    assert not shown_by(pool, fakes * 2).requires_grad

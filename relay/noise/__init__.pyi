from .accounting import (
    Accountant as Accountant,
    Mechanism as Mechanism,
    check_installed as check_installed,
    epsilon_of as epsilon_of,
    noise_for as noise_for,
)
from .gradients import clipped as clipped, noisy_mean_gradient as noisy_mean_gradient
from .layers import mixing as mixing
from .means import (
    REACH as REACH,
    Axes as Axes,
    Noisy as Noisy,
    epsilon_of_strength as epsilon_of_strength,
    noise_of as noise_of,
    noisy_mean as noisy_mean,
    shortened as shortened,
    strength as strength,
)
from .secret import Secret as Secret

"""Bounds of spotify-confidence 4.1 for evenly spaced looks, one-sided at .05; 8 stands for 8 and above.

Made in an environment of its own by:

    pip install spotify-confidence==4.1
    cd $(python -c "import spotify_confidence as s; print(s.__path__[0])")/analysis/frequentist
    sed -i -e '53s/.*/    tol = 1e-8 * pd/' -e '169s/.*/    tol = 1e-20/' sequential_bound_solver.py
    python reference.py

The `sed` tightens its tolerance, 1e-7 of probability, which is more than an early look of O'Brien and Fleming's type
spends; its integration stays as it is. Its own spending is a power of time, so reference.py puts the two in its place:

    import numpy as np
    from scipy.stats import norm
    import spotify_confidence.analysis.frequentist.sequential_bound_solver as solver

    SPENT = {
        "obrien_fleming": lambda alpha, t: 2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(t)),
        "pocock": lambda alpha, t: alpha * np.log(1 + (np.e - 1) * t),
    }
    for name, spent in SPENT.items():
        solver._alphas = lambda alpha, phi, t: (spent(alpha, t), np.diff(spent(alpha, t), prepend=0))
        for looks in (7, 14, 28, 56):
            print(name, looks, solver.bounds(np.arange(1, looks + 1) / looks, 0.05, 1.0, 8.0, 1).bounds.round(4))
"""

# fmt: off
REFERENCE = {
    ("obrien_fleming", 7): [
        5.0549, 3.4855, 2.7854, 2.3802, 2.1113, 1.9168, 1.7677,
    ],
    ("obrien_fleming", 14): [
        7.2401, 5.0549, 4.0763, 3.494, 3.1024, 2.8177, 2.599, 2.4244, 2.2808, 2.1601, 2.0567, 1.9669, 1.8879, 1.8177,
    ],
    ("obrien_fleming", 28): [
        8, 7.2405, 5.874, 5.0556, 4.4973, 4.0877, 3.7719, 3.5191, 3.311, 3.1359, 2.9859, 2.8555, 2.7409, 2.639,
        2.5478, 2.4653, 2.3904, 2.322, 2.2591, 2.2011, 2.1473, 2.0972, 2.0506, 2.0069, 1.9658, 1.9272, 1.8908, 1.8564,
    ],
    ("obrien_fleming", 56): [
        8, 8, 8, 7.2403, 6.4554, 5.8755, 5.4256, 5.064, 4.7656, 4.5142, 4.2986, 4.1111, 3.9462, 3.7996, 3.6682,
        3.5496, 3.4418, 3.3432, 3.2527, 3.1691, 3.0917, 3.0197, 2.9524, 2.8895, 2.8305, 2.7749, 2.7225, 2.6729, 2.626,
        2.5814, 2.539, 2.4987, 2.4602, 2.4235, 2.3883, 2.3546, 2.3224, 2.2914, 2.2616, 2.2329, 2.2053, 2.1788, 2.1531,
        2.1283, 2.1044, 2.0813, 2.0589, 2.0372, 2.0162, 1.9958, 1.976, 1.9568, 1.9382, 1.9201, 1.9024, 1.8853,
    ],
    ("pocock", 7): [
        2.2912, 2.2484, 2.2092, 2.1783, 2.1538, 2.1339, 2.1173,
    ],
    ("pocock", 14): [
        2.5248, 2.4719, 2.4217, 2.3805, 2.3465, 2.3181, 2.294, 2.2731, 2.2549, 2.2388, 2.2244, 2.2115, 2.1998, 2.1892,
    ],
    ("pocock", 28): [
        2.7502, 2.6972, 2.6439, 2.5983, 2.5595, 2.5261, 2.497, 2.4714, 2.4486, 2.4281, 2.4096, 2.3928, 2.3774, 2.3632,
        2.3501, 2.3379, 2.3266, 2.316, 2.3061, 2.2968, 2.2881, 2.2798, 2.272, 2.2646, 2.2575, 2.2508, 2.2444, 2.2383,
    ],
    ("pocock", 56): [
        2.9655, 2.917, 2.8655, 2.8199, 2.7802, 2.7453, 2.7143, 2.6866, 2.6615, 2.6387, 2.6179, 2.5986, 2.5808, 2.5643,
        2.5489, 2.5344, 2.5209, 2.5081, 2.496, 2.4846, 2.4738, 2.4635, 2.4538, 2.4444, 2.4355, 2.427, 2.4189, 2.4111,
        2.4036, 2.3964, 2.3894, 2.3828, 2.3763, 2.3701, 2.3641, 2.3583, 2.3527, 2.3473, 2.3421, 2.337, 2.332, 2.3273,
        2.3226, 2.3181, 2.3137, 2.3094, 2.3053, 2.3012, 2.2973, 2.2934, 2.2897, 2.2861, 2.2825, 2.279, 2.2756, 2.2723,
    ],
}
# fmt: on

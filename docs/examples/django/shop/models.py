"""What the shop keeps in its database."""

from django.db import models


class Tea(models.Model):
    name = models.CharField(max_length=80, unique=True)

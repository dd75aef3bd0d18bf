from __future__ import annotations

from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from tests.third_party.gallery.models import Photo


class PhotoSerializer(ModelSerializer):
    class Meta:
        model = Photo
        fields = ["id", "title", "image", "note"]


class PhotoViewSet(ModelViewSet):
    queryset = Photo.objects.all()
    serializer_class = PhotoSerializer
